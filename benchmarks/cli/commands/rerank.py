"""`rerankbench rerank`: reranks a file of candidates into a TREC run, without measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.cli.command import Command, add_options, option_values
from rerankers.files.paths import input_path, output_path

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("--reranker", required=True, metavar="NAME", help="see: rerankbench list rerankers")
    add_options(parser)
    parser.add_argument(
        "--candidates",
        required=True,
        type=input_path,
        metavar="FILE",
        help='lines {"query": ..., "hits": [{"content", "qid", "docid", "score"}, ...]} or another form of '
        "candidates, see docs/interoperability.md; - is standard input",
    )
    parser.add_argument(
        "--output", required=True, type=output_path, metavar="RUN.trec", help="- is standard output"
    )
    parser.add_argument("--budget", type=float, metavar="DOLLARS", help="stop before endpoints cost more")


def _run(options: argparse.Namespace) -> int:
    """Rerank the file and return exit status 0."""
    from benchmarks.cli.rerank import rerank_file

    values = option_values(options.option)
    rerank_file(options.reranker, values, options.candidates, options.output, options.budget)
    return 0


RERANK = Command(
    name="rerank",
    summary="rerank a file of candidates into a TREC run",
    examples=(
        "--reranker first-stage --candidates hits.jsonl --output run.trec",
        "--reranker pe-rank --option model=./pe-rank window=20 --candidates hits.jsonl --output run.trec",
    ),
    run=_run,
    add_arguments=_add_arguments,
)
