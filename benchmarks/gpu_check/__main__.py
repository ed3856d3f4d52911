"""`python -m benchmarks.gpu_check OUT`: everything worth measuring on one GPU, results after each step."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu_check.shapes import SHAPES, write_models, write_requests
from benchmarks.gpu_check.steps import STEPS, Check
from benchmarks.measuring.environment import environment
from rerankers.files.writing import replace_file


def main(arguments: list[str] | None = None) -> int:
    """Run the steps that fit into the time, and write their results to `OUT/check.json` after each of them.

    Args:
        arguments: those of the command line; None takes the process's own.

    Returns:
        the exit status: 1 if a step failed, else 0.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for results and random weights")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="mistral-7b", help="sizes of the models")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--queries", type=int, default=10, metavar="N", help="queries a step, at most 40")
    parser.add_argument("--depths", type=int, nargs=2, default=(20, 100), metavar="N")
    parser.add_argument("--minutes", type=float, default=9, help="begin no step after so many")
    parser.add_argument("--steps", nargs="+", choices=[step.__name__ for step in STEPS], metavar="STEP")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    dtype = "bfloat16" if options.device == "cuda" else "float32"
    small, large = options.depths
    options.out.mkdir(parents=True, exist_ok=True)
    texts = write_requests(
        options.out / "candidates.jsonl", options.out / "qrels.txt", options.queries, large
    )
    models = write_models(options.out / "models", SHAPES[options.shape], texts, options.device, dtype)
    check = Check(options.out, models, options.device, dtype, options.queries, (small, large))
    results: dict[str, Any] = {
        "note": f"random weights of the shape {options.shape}: rankings mean nothing, latencies do",
        "environment": environment(),
        "setup_seconds": time.monotonic() - started,
        "steps": {},
    }
    failed = False
    for step in STEPS:
        if options.steps and step.__name__ not in options.steps:
            continue
        begun = time.monotonic()
        try:
            if begun - started > 60 * options.minutes:
                outcome = {"skipped": f"the {options.minutes:g} minutes are over"}
            else:
                outcome = step(check)
        except Exception as error:  # the steps that follow are worth their time all the same
            outcome, failed = {"error": f"{type(error).__name__}: {error}"}, True
        results["steps"][step.__name__] = {**outcome, "seconds": time.monotonic() - begun}
        replace_file(options.out / "check.json", json.dumps(results, indent=2, default=str) + "\n")
        print(f"{step.__name__}: {json.dumps(results['steps'][step.__name__], default=str)}", flush=True)
    print(f"results in {options.out / 'check.json'}; next: rerankbench report {options.out / 'latency'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
