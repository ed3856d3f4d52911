"""The data model of a table that is ready to print: headings, cells, rows and notes, in no format yet."""

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
        section: heading over neighbouring columns.
        number: short stand-in for the title, such as `(1)`, in formats without room for it.
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
    """A sentence of a table's legend, printed if one of its columns is in the table.

    Always if it names none.
    """

    text: str
    columns: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a table, with its mark, its tests and its interval.

    Attributes:
        value: number in the column's unit; None if there is none, or if the cell is a word.
        text: what is printed.
        mark: best or second among the systems that compete in this column.
        change: whether the value is significantly above or below the baseline's.
        second_change: the same for a second baseline.
        p_value, p_holm: p-value of the test against the baseline, and Holm-corrected.
        second_p_holm: Holm-corrected p-value of the test against a second baseline.
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
        """Marks printed behind the number for significant changes against each baseline; may be empty."""
        return CHANGES[self.change] + SECOND_CHANGES[self.second_change]

    @property
    def is_word(self) -> bool:
        """True if the cell holds a word and no number."""
        return self.value is None and self.text not in ("", ABSENT)


@dataclass(frozen=True, slots=True)
class Row:
    """One system's row of a table.

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
        """Return a system's row; `letters` gives the footnote letter of each notice by its text."""
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
        """The system's label, with the number of seeds if there are several."""
        return self.label if self.replicates == 1 else f"{self.label} ({self.replicates} seeds)"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a caption, one row per system and one column per number, ready to print.

    Attributes:
        name: identifier for labels and anchors.
        about: what all rows share, such as the dataset; leading columns of a CSV.
        footnotes: pairs of letter and text.
        notes: sentences of the legend, on tests and columns.
        warnings: caveats to read before comparing rows.
        group: key of the group that it shows; "" if it shows several.
        row_title: what a row is, the head of the column of labels.
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
    row_title: str = "System"

    @property
    def legend(self) -> tuple[str, ...]:
        """Sentences that explain marks, intervals, tests and columns."""
        marks = {cell.mark for row in self.rows for cell in row.cells}
        marked = "Best bold, second underlined" if "second" in marks else "Best bold"
        return (*([marked] if "best" in marks else []), *self.explained)

    @property
    def explained(self) -> tuple[str, ...]:
        """Sentences that explain intervals, tests and columns, without those on best and second marks."""
        names = {head.name for head in self.columns}
        return tuple(note.text for note in self.notes if not note.columns or note.columns & names)

    def without_details(self) -> Table:
        """Return the table without the columns that are details, for narrow pages."""
        return self.with_columns([place for place, head in enumerate(self.columns) if not head.is_detail])

    def with_columns(self, places: Sequence[int]) -> Table:
        """Return the table with only the columns at these positions."""
        return replace(
            self,
            columns=tuple(self.columns[place] for place in places),
            rows=tuple(replace(row, cells=tuple(row.cells[place] for place in places)) for row in self.rows),
        )

    def _repr_html_(self) -> str:
        """Return the table as HTML, for display in a notebook."""
        return as_html([self])

    def lines(self) -> list[Line]:
        """Return one dictionary per row, by column name: full precision, with intervals and p-values."""
        return [self._line(row) for row in self.rows]

    def _line(self, row: Row) -> Line:
        """Return a row as a dictionary by column name, the table's shared settings first."""
        notices = dict(self.footnotes)
        line: Line = {
            **self.about,
            "system": row.label,
            "reranker": row.reranker,
            "status": row.status,
            "notice": " ".join(notices[letter] for letter in row.notes),
        }
        if any(other.replicates > 1 for other in self.rows):
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
        """Headings over neighbouring columns, with the number of columns that each spans."""
        sections: list[tuple[str, int]] = []
        for column in self.columns:
            if sections and sections[-1][0] == column.section:
                sections[-1] = (column.section, sections[-1][1] + 1)
            else:
                sections.append((column.section, 1))
        return tuple(sections)

    @property
    def changes(self) -> tuple[bool, ...]:
        """For each column, whether any of its cells has a `change`."""
        return tuple(any(row.cells[place].change for row in self.rows) for place in range(len(self.columns)))


def as_html(tables: Sequence[Table]) -> str:
    """Return tables as plain HTML without styles, for notebooks; all texts are escaped."""
    return "\n".join(map(_html, tables))


def _html(table: Table) -> str:
    """Return one table as HTML, its legend below it."""
    names = [f"{head.title} ({head.unit})" if head.unit else head.title for head in table.columns]
    heads = "".join(
        f'<th title="{escape(head.meaning)}">{escape(name)}</th>'
        for name, head in zip(names, table.columns, strict=True)
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
    """Return a cell as an HTML `td` element with its marks."""
    text = escape(cell.text)
    if cell.mark:
        text = f"<b>{text}</b>" if cell.mark == "best" else f"<u>{text}</u>"
    spread = f" ± {escape(cell.spread)}" if cell.spread else ""
    return f'<td title="{escape(cell.hint)}">{text}{spread}{cell.changes}</td>'


def marked(
    cells: Sequence[Cell], competing: Sequence[bool], better: Literal["higher", "lower"]
) -> list[Cell]:
    """Return a column's cells with the best and the second of the competing ones marked.

    Cells are compared by their printed text, so that equal numbers get equal marks. The best is marked among
    two or more values, the second among three or more.
    """
    values = {
        cell.text: cell.value
        for cell, competes in zip(cells, competing, strict=True)
        if competes and cell.value is not None
    }
    count = sum(cell.value is not None and competes for cell, competes in zip(cells, competing, strict=True))
    order = sorted(values, key=lambda text: values[text], reverse=better == "higher")
    marks: dict[str, Mark] = {}
    if count > 1:
        marks[order[0]] = "best"
    if count > 2 and len(order) > 1:
        marks[order[1]] = "second"
    return [
        replace(cell, mark=marks.get(cell.text, "")) if competes and cell.value is not None else cell
        for cell, competes in zip(cells, competing, strict=True)
    ]


def lettered(notices: Sequence[str | None]) -> dict[str, str]:
    """Assign the letters a, b, c ... to distinct notices in order of appearance; return letters by notice."""
    return {text: chr(ord("a") + index) for index, text in enumerate(dict.fromkeys(filter(None, notices)))}
