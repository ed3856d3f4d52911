"""A table ready to print: writers and the page's template add nothing but their own syntax."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Literal

from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pandas import DataFrame

    from reports.analysis.values import Role, SystemResult

Mark = Literal["", "best", "second"]
Change = Literal["", "better", "worse"]
ABSENT = "–"
Line = dict[str, str | int | float]
CHANGES = {"": "", "better": " ▲", "worse": " ▼"}
SECOND_CHANGES = {"": "", "better": "†", "worse": "‡"}
"""The marks of plain text for values significantly above or below the baseline's."""


@dataclass(frozen=True, slots=True)
class Head:
    """A column's heading.

    Attributes:
        section: the heading over neighbouring columns.
        number: stands for the row of the same title, in formats without room for the title.
        is_detail: whether LaTeX and Markdown, whose pages are narrow, leave the column out.
    """

    name: str
    title: str
    section: str
    meaning: str
    unit: str = ""
    number: str = ""
    is_detail: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence of a legend; it is left out where none of its columns is there. Without columns it stays."""

    text: str
    columns: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a table.

    Attributes:
        value: in the column's unit; None where there is none, or the cell is a word.
        mark: best or second of the systems that compete in this column.
        change: whether the value is significantly above or below the baseline's.
        second_change: likewise of a second baseline's.
        p_value, p_holm: of the test against the baseline, as it is and corrected.
        second_p_holm: corrected, of the test against a second baseline.
        interval: `low–high` as text.
        spread: standard deviation over replicates, as text; "" without replicates.
        deviation: the same as a number.
        hint: the interval and the test, in words.
    """

    value: float | None = None
    text: str = ABSENT
    low: float | None = None
    high: float | None = None
    mark: Mark = ""
    change: Change = ""
    second_change: Change = ""
    p_value: float | None = None
    p_holm: float | None = None
    second_p_holm: float | None = None
    interval: str = ""
    spread: str = ""
    deviation: float | None = None
    hint: str = ""

    @property
    def changes(self) -> str:
        """The marks behind the number: what is significant against each baseline."""
        return CHANGES[self.change] + SECOND_CHANGES[self.second_change]

    @property
    def is_word(self) -> bool:
        """Return whether the cell says something that is no number."""
        return self.value is None and self.text not in ("", ABSENT)


@dataclass(frozen=True, slots=True)
class Row:
    """One system.

    Attributes:
        notes: letters of the footnotes that concern it.
        replicates: number of its seeds.
    """

    label: str
    role: Role
    reranker: str
    status: str
    notes: tuple[str, ...]
    cells: tuple[Cell, ...]
    replicates: int = 1

    @classmethod
    def of(cls, system: SystemResult, cells: Iterable[Cell], letters: Mapping[str, str] | None = None) -> Row:
        """Make the row of a system, with the footnote of its notice if `letters` has one."""
        return cls(
            label=system.label,
            role=system.role,
            reranker=system.reranker,
            status=system.status,
            notes=(letters[system.notice],) if letters and system.notice else (),
            cells=tuple(cells),
            replicates=system.replicates,
        )

    @property
    def name(self) -> str:
        """The label, with the number of seeds if there are several."""
        return self.label if self.replicates == 1 else f"{self.label} ({self.replicates} seeds)"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of systems under columns of numbers.

    Attributes:
        name: identifier for labels and anchors.
        about: what all rows share, such as the dataset; leading columns of a CSV.
        footnotes: text by letter.
        notes: what tests and columns mean.
        warnings: caveats to read before comparing rows.
        group: key of the group that it is about; "" where it is about several.
    """

    name: str
    caption: str
    about: Mapping[str, str | int]
    columns: tuple[Head, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[tuple[str, str], ...] = ()
    notes: tuple[Note, ...] = ()
    warnings: tuple[str, ...] = ()
    group: str = ""

    @property
    def legend(self) -> tuple[str, ...]:
        """The notes that explain marks, intervals, tests and columns."""
        marks = {cell.mark for row in self.rows for cell in row.cells}
        marked = "Best bold, second underlined" if "second" in marks else "Best bold"
        return (*([marked] if "best" in marks else []), *self.explained)

    @property
    def explained(self) -> tuple[str, ...]:
        """The meaning of intervals, tests and columns: the legend where nothing is bold or underlined."""
        names = {head.name for head in self.columns}
        return tuple(note.text for note in self.notes if not note.columns or note.columns & names)

    def without_details(self) -> Table:
        """Return the table without the columns that are details, for narrow pages."""
        return self.with_columns([place for place, head in enumerate(self.columns) if not head.is_detail])

    def with_columns(self, places: Sequence[int]) -> Table:
        """Return the table with the columns at these places alone."""
        return replace(
            self,
            columns=tuple(self.columns[place] for place in places),
            rows=tuple(replace(row, cells=tuple(row.cells[place] for place in places)) for row in self.rows),
        )

    def _repr_html_(self) -> str:
        """Return the table as a notebook displays it."""
        return as_html([self])

    def lines(self) -> list[Line]:
        """Return a mapping a row, by column name: full precision,
        an interval and p-values beside each measure.
        """
        return [self._line(row) for row in self.rows]

    def _line(self, row: Row) -> Line:
        notices = dict(self.footnotes)
        line: Line = {
            **self.about,
            "system": row.label,
            "reranker": row.reranker,
            "status": row.status,
            "notice": " ".join(notices[letter] for letter in row.notes),
        }
        if any(one.replicates > 1 for one in self.rows):
            line["replicates"] = row.replicates
        for head, cell in zip(self.columns, row.cells, strict=True):
            name = f"{head.name}_{head.unit}" if head.unit and head.unit != "×" else head.name
            if cell.is_word:
                line[name] = cell.text
            numbers = {
                "": cell.value,
                "_low": cell.low,
                "_high": cell.high,
                "_spread": cell.deviation,
                "_p": cell.p_value,
                "_p_holm": cell.p_holm,
                "_p_holm_second": cell.second_p_holm,
            }
            line |= {f"{name}{suffix}": number for suffix, number in numbers.items() if number is not None}
        return line

    def to_frame(self) -> DataFrame:
        """Return the table as a pandas DataFrame: the columns of its CSV, every text as it is.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise InputError("a DataFrame needs pandas; pip install pandas") from error
        return pandas.DataFrame(self.lines())

    @property
    def sections(self) -> tuple[tuple[str, int], ...]:
        """Headings over neighbouring columns, with the number of columns each spans."""
        sections: list[tuple[str, int]] = []
        for column in self.columns:
            if sections and sections[-1][0] == column.section:
                sections[-1] = (column.section, sections[-1][1] + 1)
            else:
                sections.append((column.section, 1))
        return tuple(sections)

    @property
    def changes(self) -> tuple[bool, ...]:
        """For each column, whether any cell of it has a `change`."""
        return tuple(any(row.cells[place].change for row in self.rows) for place in range(len(self.columns)))


def as_html(tables: Sequence[Table]) -> str:
    """Return tables as plain HTML, which a notebook gives its own look; every text escaped."""
    return "\n".join(map(_html, tables))


def _html(table: Table) -> str:
    named = [f"{head.title} ({head.unit})" if head.unit else head.title for head in table.columns]
    heads = "".join(
        f'<th title="{escape(head.meaning)}">{escape(name)}</th>'
        for name, head in zip(named, table.columns, strict=True)
    )
    body = "".join(
        f"<tr><th>{escape(row.name)}</th>{''.join(map(_html_cell, row.cells))}</tr>" for row in table.rows
    )
    notes = [*table.legend, *table.warnings, *(text for _, text in table.footnotes)]
    return (
        f"<table><caption>{escape(table.caption)}</caption><thead><tr><th>System</th>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table><p>{escape('. '.join(notes))}</p>"
    )


def _html_cell(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.mark:
        text = f"<b>{text}</b>" if cell.mark == "best" else f"<u>{text}</u>"
    spread = f" ± {escape(cell.spread)}" if cell.spread else ""
    return f'<td title="{escape(cell.hint)}">{text}{spread}{cell.changes}</td>'


def marked(
    cells: Sequence[Cell], competing: Sequence[bool], better: Literal["higher", "lower"]
) -> list[Cell]:
    """Return a column's cells with the best and the second marked by what is printed, so that equal numbers
    are
    marked alike. Nothing is best alone, and nothing is second of two."""
    values = {
        cell.text: cell.value
        for cell, competes in zip(cells, competing, strict=True)
        if competes and cell.value is not None
    }
    count = sum(cell.value is not None and competes for cell, competes in zip(cells, competing, strict=True))
    order = sorted(values, key=lambda text: values[text], reverse=better == "higher")
    places: dict[str, Mark] = {}
    if count > 1:
        places[order[0]] = "best"
    if count > 2 and len(order) > 1:
        places[order[1]] = "second"
    return [
        replace(cell, mark=places.get(cell.text, "")) if competes and cell.value is not None else cell
        for cell, competes in zip(cells, competing, strict=True)
    ]


def lettered(notices: Sequence[str | None]) -> dict[str, str]:
    """Return a footnote's letter by its text, in order of appearance."""
    return {text: chr(ord("a") + place) for place, text in enumerate(dict.fromkeys(filter(None, notices)))}
