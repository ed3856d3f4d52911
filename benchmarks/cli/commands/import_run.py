"""`rerankbench import-run`: imports TREC runs of other programs into a result folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command
from rerankers.errors import InputError
from rerankers.files.paths import input_path

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "runs", nargs="+", metavar="[LABEL=]RUN", help="runs of TREC, MS MARCO or ranx; - is standard input"
    )
    parser.add_argument("--first-stage", type=input_path, metavar="RUN", help="the run they reranked")
    parser.add_argument("--qrels", type=input_path, metavar="FILE", help="judgements")
    parser.add_argument("--dataset", default="imported", metavar="NAME", help="how tables call the data")
    parser.add_argument(
        "--exclude", choices=("identical-id", "negative-grades", "none"), help="passages that no run may rank"
    )
    parser.add_argument(
        "--measures",
        nargs="+",
        metavar="NAME",
        help="measures, the first is the headline: nDCG@10, AP(rel=2), or the preset trec-dl",
    )
    parser.add_argument("--pool", metavar="DIGEST", help="candidates that DIR holds already, instead")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="result folder")


def _run(options: argparse.Namespace) -> int:
    """Import the runs, print the number of cells and return exit status 0."""
    from benchmarks.evaluation.measures import DEFAULT_MEASURES, expand
    from benchmarks.measuring.progress import say
    from benchmarks.results.exchange import imports

    runs = imports.labelled_runs(options.runs, options.first_stage)
    if options.pool:
        pool = imports.stored_pool(options.out, options.pool)
    elif options.first_stage and options.qrels:
        pool = imports.pool_of(options.first_stage, options.qrels, options.dataset, options.exclude)
    else:
        raise InputError("say what the runs ranked: --first-stage RUN and --qrels FILE, or --pool DIGEST")
    names = options.measures or DEFAULT_MEASURES
    measures = list(dict.fromkeys(measure for name in names for measure in expand(name)))
    hint = imports.other_candidates(options.out, pool)
    cells = imports.import_runs(options.out, pool, runs, measures)
    if hint is not None:
        say(hint)
    print(f"{len(cells)} cells on pool {pool.digest}; next: rerankbench report {options.out}")
    return 0


IMPORT_RUN = Command(
    name="import-run",
    summary="put others' TREC runs beside our own",
    examples=(
        "colbert.trec.gz --first-stage bm25.trec --qrels qrels.txt --dataset dl19 --out runs/published",
        "'Their system=theirs.trec' --pool 5833824558135693 --out runs/mine",
    ),
    run=_run,
    add_arguments=_add_arguments,
)
