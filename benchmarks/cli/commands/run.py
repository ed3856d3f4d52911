"""`rerankbench run`: measures an experiment, or resumes it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command
from rerankers.errors import InputError, RerankbenchError
from rerankers.text.printable import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="an experiment file, - for standard input, or the name of a ready experiment",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="use the first N queries of each dataset")
    parser.add_argument("--out", type=Path, metavar="DIR", help="result folder (default: runs/NAME)")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change the experiment"
    )
    parser.add_argument(
        "--executor",
        choices=("local", "ray"),
        default="local",
        help="measure here, or on the Ray cluster that $RAY_ADDRESS names (extra `ray`)",
    )
    parser.add_argument("--budget", type=float, metavar="DOLLARS", help="stop before endpoints cost more")
    parser.add_argument("--dry-run", action="store_true", help="show what would be run, and run nothing")
    parser.add_argument(
        "--rates",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="result folders whose measured times tell --dry-run how long this run takes",
    )
    parser.add_argument(
        "--dollars-per-hour",
        type=float,
        metavar="DOLLARS",
        help="price of this machine, which --dry-run turns its hours into",
    )


def _run(options: argparse.Namespace) -> int:
    """Run an experiment, or print its dry run; return the exit status of the run."""
    from benchmarks.executors.local import run
    from benchmarks.executors.ray import on_cluster
    from benchmarks.experiments.config import find_experiment, load_experiment
    from benchmarks.experiments.dry_run import describe_run

    overrides = list(options.set)
    if options.limit is not None:
        overrides.append(f"limit={options.limit}")
    if options.budget is not None:
        overrides.append(f"budget={options.budget}")
    experiment, config = load_experiment(find_experiment(options.config), overrides)
    if not options.dry_run and (options.rates or options.dollars_per_hour is not None):
        raise InputError("--rates and --dollars-per-hour are for --dry-run; add it, or leave them out")
    if missing := [rates for rates in options.rates if not rates.is_dir()]:
        raise InputError(f"--rates {missing[0]}: no such folder. Name result folders of earlier runs")
    folder = options.out or Path(experiment.out or f"runs/{experiment.name}")
    if options.dry_run:
        for line in describe_run(experiment, folder, options.rates, options.dollars_per_hour):
            print(printable(line))
        return 0
    outcome = run(experiment, config, folder, on_cluster if options.executor == "ray" else None)
    done = outcome.cells - len(outcome.failures)
    cost = f" for ${outcome.dollars:.4f} at list price" if outcome.dollars else ""
    if outcome.dollars_paid:
        cost += f", ${outcome.dollars_paid:.4f} paid for all calls, warm-up included"
    for line in _answer(folder) if done else ():
        print(printable(line))
    where = shlex.quote(str(folder))
    print(
        f"{done} of {outcome.cells} cells done{cost}; results in {folder}; next: rerankbench report {where}"
    )
    report = f"rerankbench report {where} && python -m webbrowser {shlex.quote(str(folder / 'report.html'))}"
    print(f"report: {report}")
    print(f"table:  rerankbench table {where}")
    return outcome.exit_status


def _answer(folder: Path) -> Iterator[str]:
    """Yield the lines that extension commands print about the results.

    Their error if one cannot read them.
    """
    from benchmarks.cli.extensions import extension_commands

    try:
        for command in extension_commands():
            yield from command.answer(folder) if command.answer else ()
    except RerankbenchError as error:
        yield str(error)


RUN = Command(
    name="run",
    summary="run an experiment, or resume it",
    examples=(
        "demo",
        "my-experiment.yaml --limit 5",
        "my-experiment.yaml --set protocol.repeats=3 depths=[20,100] --out runs/deep",
    ),
    run=_run,
    add_arguments=_add_arguments,
    kept="finished queries are kept",
)
