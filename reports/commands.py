"""The commands `rerankbench report` and `rerankbench table`, which the command line finds as entry points."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command, Suggested
from reports.tables.registry import LAYOUTS
from rerankers.files.paths import STANDARD_OUTPUT, output_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="result folders")
    parser.add_argument(
        "--baseline", metavar="NAME", help="system that tests refer to (default: first stage)"
    )


def _add_report_arguments(parser: argparse.ArgumentParser) -> None:
    _add_inputs(parser)
    parser.add_argument("--out", type=output_path, metavar="FILE.html", help="default: DIR/report.html")


def _add_table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="result folders")
    parser.add_argument(
        "--baseline",
        nargs="+",
        default=[],
        metavar="NAME",
        help="one or two systems that tests refer to (default: first stage)",
    )
    parser.add_argument(
        "--format",
        choices=("text", "latex", "markdown", "csv"),
        help="default: text on a terminal, markdown in a pipe or file",
    )
    parser.add_argument(
        "--layout",
        choices=Suggested(tuple(LAYOUTS)),
        default="headline",
        metavar="NAME",
        help=f"{', '.join(LAYOUTS)}, how-we-measured, or columns such as nDCG@10,p50,stage:decode "
        "(default: headline)",
    )
    _add_shape(parser)


def _add_shape(parser: argparse.ArgumentParser) -> None:
    for name, what in (
        ("--systems", "rows in this order; LABEL=NEW renames one"),
        ("--columns", "columns of the layout in this order; NAME=TITLE renames one"),
        ("--hide", "rows or columns to leave out; controls stands for all controls"),
    ):
        parser.add_argument(name, nargs="+", action="extend", default=[], metavar="NAME", help=what)
    parser.add_argument("--unit", choices=("ms", "s"), default="ms", help="unit of times (default: ms)")


def _report(options: argparse.Namespace) -> int:
    from benchmarks.collector import collector_off
    from benchmarks.measuring.progress import say
    from benchmarks.results.store import trusted
    from reports.formats.html import report

    with collector_off(), trusted(options.folders):
        page = report(options.folders, options.out, options.baseline)
    if page != STANDARD_OUTPUT:
        print(page)
        say(f"open it: python -m webbrowser {shlex.quote(str(page))}")
    return 0


def _table(options: argparse.Namespace) -> int:
    from benchmarks.collector import collector_off
    from benchmarks.results.store import trusted
    from reports.tables.by_name import table
    from reports.tables.shaping import Shape

    format_name = options.format or ("text" if sys.stdout.isatty() else "markdown")
    shape = Shape(tuple(options.systems), tuple(options.columns), tuple(options.hide), options.unit)
    with collector_off(), trusted(options.folders):
        print(table(options.folders, format_name, options.layout, options.baseline, shape))
    return 0


def _answer(folder: Path) -> Iterable[str]:
    from benchmarks.results.store import trusted
    from reports.formats.answer import answer

    with trusted([folder]):
        yield from answer(folder)


REPORT = Command(
    name="report",
    summary="make an HTML report of results",
    examples=("runs/demo", "runs/a runs/b --out both.html"),
    run=_report,
    add_arguments=_add_report_arguments,
    answer=_answer,
)
TABLE = Command(
    name="table",
    summary="print a table of results",
    examples=("runs/demo --format latex", "runs/demo --format csv"),
    run=_table,
    add_arguments=_add_table_arguments,
)
