"""Compares our answers with other programs' and writes the tables of docs/peers.md.

python tests/peers/compare.py OURS.json THEIRS.json docs/peers.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from data import CASES  # type: ignore[import-not-found]

TOLERANCE = 1e-6

HEAD = (Path(__file__).with_name("page.md")).read_text(
    encoding="utf-8"
)  # what stands before and after the tables


def main() -> None:
    """Write the page, and fail where programs differ that should agree."""
    ours, theirs, page = (Path(argument) for argument in sys.argv[1:])
    text, failures = compare(json.loads(ours.read_text()), json.loads(theirs.read_text()))
    page.write_text(text, encoding="utf-8")
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


def compare(ours: dict[str, Any], theirs: dict[str, dict[str, Any]]) -> tuple[str, list[str]]:
    """Return the page, and what should agree and does not."""
    present = {name: answers for name, answers in theirs.items() if "skipped" not in answers}
    failures: list[str] = []
    versions = ", ".join(f"{name} {answers['version']}" for name, answers in present.items())
    before, _, after = HEAD.partition("TABLES\n")
    parts = [before, f"Compared with {versions or 'none'}.\n"]
    for name, answers in theirs.items():
        if "skipped" in answers:
            parts.append(f"\n{name} was not compared: {answers['skipped']}.\n")
    parts.append("\n## Parsing a list-wise answer\n\n")
    parsers = {name: answers["parsing"] for name, answers in present.items() if "parsing" in answers}
    rows = []
    for place, case in enumerate(CASES["answers"]):
        our_parsings = [ours["parsing"][place], ours["parsing, strict"][place]]
        rows.append([f"`{case['text']}`" if case["text"] else "(nothing)", *our_parsings])
        rows[-1] += [parsed[place] for parsed in parsers.values()]
    parts.append(table(["Answer", "ours", "ours, `strict`", *parsers], rows))
    parts.append("\n## Windows\n\n")
    sliders = {name: answers["windows"] for name, answers in present.items() if "windows" in answers}
    rows = []
    for place, case in enumerate(CASES["windows"]):
        permutation = ours["windows"][place]
        described = f"{case['count']} passages, {case['window']} wide, step {case['step']}"
        rows.append([described, f"{len(permutation)}, last {permutation[-1]}"])
        for name, seen in sliders.items():
            rows[-1].append(
                "the same" if seen[place] == permutation else f"{len(seen[place])}: {seen[place][-1:]}"
            )
            if seen[place] != permutation and case["count"] != case["step"]:
                failures.append(f"windows of {name} differ: {described}")
    parts.append(table(["Candidates", "ours", *sliders], rows))
    parts.append("\n## nDCG@10\n\n")
    evaluators = {name: answers["ndcg"] for name, answers in present.items() if "ndcg" in answers}
    rows = []
    for run, value in ours["ndcg"].items():
        rows.append([run, f"{value:.4f}", *(number(values[run]) for values in evaluators.values())])
        for name, values in evaluators.items():
            should_agree = run in ("good", "fair", "missing") and name != "sentence-transformers"
            if should_agree and abs(values[run] - value) > TOLERANCE:
                failures.append(f"nDCG@10 of {name} differs on {run}: {values[run]} and {value}")
    added = evaluators.get("sentence-transformers", {}).get("good, positives added")
    parts.append(table(["Ranking", "ours", *evaluators], rows))
    if added is not None:
        parts.append(f"\nBy its defaults sentence-transformers gives *good* {added:.4f}.\n")
    parts.append("\n## Paired t-test of *good* and *fair*\n\n")
    tests = {name: answers["p"] for name, answers in present.items() if "p" in answers}
    parts.append(
        table(["", "ours", *tests], [["p", f"{ours['p']:.6g}", *(f"{p:.6g}" for p in tests.values())]])
    )
    failures += [f"p of {name} differs: {p}" for name, p in tests.items() if abs(p - ours["p"]) > TOLERANCE]
    parts.append("\n## Seconds per query, where each takes 0.020\n\n")
    timers = {name: answers["latency"] for name, answers in present.items() if "latency" in answers}
    measured = [f"{ours['latency']:.2f}", *(f"{seconds:.2f}" for seconds in timers.values())]
    parts.append(table(["", "ours", *timers], [["mean", *measured]]))
    return "".join([*parts, after]), failures


def number(value: Any) -> str:
    """Return a figure, or what was said instead of one."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
