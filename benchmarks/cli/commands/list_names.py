"""`rerankbench list`: the names that an experiment may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.cli.command import Command

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("rerankers", "encoders", "datasets", "measures", "experiments"))


def _run(options: argparse.Namespace) -> int:
    from benchmarks.cli import listing

    for line in getattr(listing, options.what)():
        print(line)
    return 0


LIST = Command(
    name="list",
    summary="list what can be named in experiments",
    examples=("rerankers", "datasets"),
    run=_run,
    add_arguments=_add_arguments,
)
