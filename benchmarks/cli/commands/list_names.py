"""`rerankbench list`: prints the names that an experiment file may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.cli.command import Command
from rerankers.errors import InputError

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "what", choices=("rerankers", "encoders", "suites", "datasets", "measures", "experiments")
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a reranker or a suite, which is shown in full"
    )


def _run(options: argparse.Namespace) -> int:
    """Print the names of one kind, or one entry in full, and return exit status 0."""
    from benchmarks.cli import listing

    if options.name is None:
        lines = getattr(listing, options.what)()
    elif options.what == "rerankers":
        lines = listing.reranker(options.name)
    elif options.what == "suites":
        lines = listing.suite(options.name)
    else:
        raise InputError(f"list {options.what} takes no name. Only rerankers and suites do.")
    for line in lines:
        print(line)
    return 0


LIST = Command(
    name="list",
    summary="list what can be named in experiments",
    examples=("rerankers", "rerankers pe-rank", "suites", "suites bright"),
    run=_run,
    add_arguments=_add_arguments,
)
