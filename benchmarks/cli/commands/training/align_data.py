"""`rerankbench train align-data`: writes alignment data from the passages of a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.cli.command import Command
from benchmarks.cli.commands.training.arguments import KEPT
from rerankers.files.paths import output_path

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "dataset",
        metavar="DATASET",
        help="whose passages: an ir_datasets id, a folder with corpus.jsonl, a .jsonl file of candidates",
    )
    parser.add_argument("--out", required=True, type=output_path, metavar="FILE.jsonl", help="alignment data")
    parser.add_argument("--limit", type=int, metavar="N", help="so many passages, drawn at random")
    parser.add_argument(
        "--words",
        type=int,
        default=90,
        metavar="N",
        help="cut passages after N words: what the encoder does not see cannot be restated (default: 90)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of draws and phrasings (default: 0)"
    )


def _run(options: argparse.Namespace) -> int:
    """Write the alignment data, print the number of passages and return exit status 0."""
    from benchmarks.datasets.sources import open_dataset
    from benchmarks.datasets.specs import DatasetSpec
    from benchmarks.measuring.progress import say
    from benchmarks.training_data.alignment import write_alignment

    dataset = open_dataset(DatasetSpec.model_validate(options.dataset), needs_queries=False)
    count = write_alignment(dataset, options.out, options.limit, options.words, options.seed)
    say(f"{count} passages in {options.out}")
    return 0


ALIGN_DATA = Command(
    name="align-data",
    summary="make alignment data from texts",
    examples=("beir/nfcorpus --limit 2000 --out alignment.jsonl",),
    run=_run,
    add_arguments=_add_arguments,
    kept=KEPT,
)
