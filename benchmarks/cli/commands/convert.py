"""`rerankbench convert`: converts labelled data to candidates and judgements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command
from rerankers.files.paths import input_path

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "source",
        type=input_path,
        metavar="SOURCE",
        help='a file of {"query", "positive": [...], "negative": [...]}, or a folder in MTEB\'s layout '
        "(corpus, queries, qrels, top_ranked); JSON or Parquet",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where to write")


def _run(options: argparse.Namespace) -> int:
    """Convert a file or folder, print the counts and return exit status 0."""
    from benchmarks.cli.convert import convert

    converted = convert(options.source, options.out)
    files = f"{options.out / 'candidates.jsonl'} {options.out / 'qrels.txt'}"
    lacking = converted.without_candidates
    missing = f"; queries without candidates, which count 0: {lacking}" if lacking else ""
    counts = f"{converted.queries} queries, {converted.passages} passages{missing}"
    print(f"{counts}; next: rerankbench init --data {files}")
    return 0


CONVERT = Command(
    name="convert",
    summary="turn relevant and other passages of queries into candidates and judgements",
    examples=(
        "askubuntu.jsonl --out askubuntu",
        "AskUbuntuDupQuestions --out askubuntu",
        "MIRACLReranking/ar --out miracl-ar",
    ),
    run=_run,
    add_arguments=_add_arguments,
)
