"""`rerankbench doctor`: checks what works on this machine, or whether a reranker's batches are exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.cli.command import Command, add_options, option_values
from rerankers.errors import InputError

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("--offline", action="store_true", help="do not try the network")
    parser.add_argument("--quick", action="store_true", help="look only, try nothing")
    parser.add_argument(
        "--reranker", metavar="NAME", help="compare its scores and rankings alone and in a batch, instead"
    )
    add_options(parser)
    parser.add_argument("--fetch", action="store_true", help="fetch the small models that are tried (180 MB)")


def _run(options: argparse.Namespace) -> int:
    """Print the findings and return exit status 0."""
    from benchmarks.cli.doctor import examine

    if options.reranker is not None:
        from benchmarks.measuring.invariance import check_reranker

        for line in check_reranker(options.reranker, option_values(options.option)):
            print(line, flush=True)
        return 0
    if options.option:
        raise InputError("--option belongs to a reranker. Name it with --reranker NAME.")
    for finding in examine(use_network=not options.offline):
        print(finding)
    if options.quick:
        return 0
    from benchmarks.cli.extensions import load_page
    from benchmarks.experiments.capability_checks import run_checks

    for finding in run_checks(load_page("html"), may_fetch=options.fetch):
        print(finding, flush=True)
    return 0


DOCTOR = Command(
    name="doctor",
    summary="find out what works here and what to install, or whether a reranker's batches are exact",
    examples=(
        "",
        "--fetch",
        "--quick",
        "--reranker query-likelihood --option model=./my-model dtype=bfloat16",
    ),
    run=_run,
    add_arguments=_add_arguments,
)
