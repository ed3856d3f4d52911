"""Results in a notebook, where they show themselves as tables.

    from reports.notebook import open_results

    results = open_results("runs/before", "runs/after")    # shows the headline tables, tests included
    tables(results, "stages")[0].to_frame()                # a pandas DataFrame

`open_results` gives the `Context` that pages and papers are made of; `reports.tables.tables` its layouts.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.store import read_results
from reports.context import build
from reports.csv import lines
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

    from reports.cells import Cell, Table
    from reports.values import Context

_CHANGE = {"": "", "better": " ▲", "worse": " ▼"}


def open_results(*folders: Path | str, baseline: str | None = None) -> Context:
    """Result folders, ready to be looked at; several are compared.

    Raises:
        InputError: a folder has no results, or no system carries the label `baseline`.
        StoreError: a result folder is damaged.
    """
    return build([read_results(Path(folder)) for folder in folders], baseline)


def as_html(tables: Sequence[Table]) -> str:
    """Tables as plain HTML, which a notebook gives its own look; every text escaped."""
    return "\n".join(map(_html, tables))


def as_frame(table: Table) -> DataFrame:
    """A table as a DataFrame: the columns of its CSV, an interval and p-values beside each measure."""
    try:
        import pandas
    except ImportError as error:
        raise InputError("a DataFrame needs pandas; pip install pandas") from error
    return pandas.DataFrame(lines(table))


def _html(table: Table) -> str:
    named = [f"{head.title} ({head.unit})" if head.unit else head.title for head in table.columns]
    heads = "".join(
        f'<th title="{escape(head.meaning)}">{escape(name)}</th>'
        for name, head in zip(named, table.columns, strict=True)
    )
    body = "".join(
        f"<tr><th>{escape(row.label)}</th>{''.join(map(_cell, row.cells))}</tr>" for row in table.rows
    )
    said = [*table.legend, *table.warnings, *(text for _, text in table.footnotes)]
    return (
        f"<table><caption>{escape(table.caption)}</caption><thead><tr><th>System</th>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table><p>{escape('. '.join(said))}</p>"
    )


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.mark:
        text = f"<b>{text}</b>" if cell.mark == "best" else f"<u>{text}</u>"
    return f'<td title="{escape(cell.hint)}">{text}{_CHANGE[cell.change]}</td>'
