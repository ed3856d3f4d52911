"""`rerankbench compare`: prints what changed between two result folders, with an exit status for CI."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.cli.command import Command


def _share(text: str) -> float:
    """Parse a share such as `10%` or `0.1` into a number."""
    number, percent, rest = text.partition("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if rest or not 0 <= value < 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share. Write it as 10% or 0.1")
    return value


def _difference(text: str) -> float:
    """Parse a difference of a measure, from 0 to 1, such as `0.01`."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a difference of a measure. Write it as 0.01")
    return value


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    both = "a result folder, or a folder of result folders, one for each session"
    parser.add_argument("before", type=Path, metavar="BEFORE", help=both)
    parser.add_argument("after", type=Path, metavar="AFTER", help="likewise")
    parser.add_argument(
        "--fail-if-slower",
        type=_share,
        metavar="SHARE",
        help="exit with status 1 if a system became slower by more than this, such as 10%%",
    )
    parser.add_argument(
        "--fail-if-worse",
        type=_difference,
        metavar="DIFFERENCE",
        help="exit with status 1 if the headline measure fell by more than this, such as 0.01",
    )


def _run(options: argparse.Namespace) -> int:
    """Print the comparison; return exit status 1 if a threshold is exceeded, else 0."""
    from benchmarks.cli.compare import Gates, compare
    from benchmarks.results.store import trusted
    from rerankers.text.printable import printable

    gates = Gates(options.fail_if_slower, options.fail_if_worse)
    with trusted([options.before, options.after]):
        comparison = compare(options.before, options.after, gates)
    for line in comparison.lines:
        print(printable(line, keep="\n"))
    for line in comparison.failures:
        print(printable(f"failed: {line}"))
    return 1 if comparison.failures else 0


COMPARE = Command(
    name="compare",
    summary="compare systems before and after a change, by sessions",
    examples=(
        "runs/before runs/after",
        "runs/before runs/after --fail-if-slower 10% --fail-if-worse 0.01",
    ),
    run=_run,
    add_arguments=_add_arguments,
)
