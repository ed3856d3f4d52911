"""`rerankbench train STAGE`: trains a model on the data of one stage."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks.cli.command import Command
from benchmarks.cli.commands.training.arguments import KEPT, add_run_arguments

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_Stage = Literal["align", "query", "rank", "cross-encoder", "text", "e2rank"]

_SUMMARIES: dict[_Stage, str] = {
    "align": "teach the projector to say passages in the language model's own terms (the paper's stage 1)",
    "query": "teach the model to point at what its encoder finds similar (a short warm-up, ours)",
    "rank": "teach the model to rank (the paper's stage 2)",
    "cross-encoder": "teach an encoder to score a query with a passage, on lists with a teacher's scores",
    "text": "teach a language model to rank passages by their text, on the same lists",
    "e2rank": "teach an embedding model to rank by a listwise prompt (E2Rank's stage 2)",
}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a settings file")
    add_run_arguments(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check data and models, say what would be trained, and stop",
    )


def _run(stage: _Stage, options: argparse.Namespace) -> int:
    """Train one stage, print its progress lines and return exit status 0."""
    from benchmarks.training_data.pe_rank import train

    overrides: Sequence[str] = options.set
    words = ["rerankbench", "train", stage, str(options.config)]
    words += ["--set", *overrides] if overrides else []
    words += ["--out", str(options.out)] if options.out else []
    command = shlex.join(words)
    for line in train(
        stage, options.config, overrides, options.out, dry_run=options.dry_run, command=command
    ):
        print(line)
    return 0


STAGES = tuple(
    Command(
        name=stage,
        summary=summary,
        examples=(f"{stage}.yaml", f"{stage}.yaml --set seed=1 --out runs/{stage}"),
        run=partial(_run, stage),
        add_arguments=_add_arguments,
        kept=KEPT,
    )
    for stage, summary in _SUMMARIES.items()
)
