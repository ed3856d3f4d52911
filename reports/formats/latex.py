"""Writes tables as LaTeX for papers: booktabs, numbers aligned by siunitx, with caption, label and legend.

The text compiles with pdfLaTeX; its first line names the packages that it needs. A table that is wider than a
column of a two-column page is a `table*`. It is shrunk to four fifths at most, so that it stays legible: a
table that is wider still continues under its first columns. Characters that pdfLaTeX has no glyphs for in its
default encoding are written by their code point.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.tables.cells import Cell, Row, Table

_WRITTEN = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # at the start of a row it would be an argument of the line break before it, as would a star
    "*": "{*}",
    '"': r"\textquotedblright{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "\u2212": "$-$",
    "\u00d7": r"$\times$",
    "\u00b1": r"$\pm$",
    "\u2013": "--",
    "\u2014": "---",
    "\u2019": "'",
    "\u202f": r"\,",
    "\u00a0": "~",
    "\u2020": r"$^{\dagger}$",
    "\u2021": r"$^{\ddagger}$",
    "\u25b2": r"$^{\uparrow}$",
    "\u25bc": r"$^{\downarrow}$",
}
_ACCENTS = frozenset("\u0300\u0301\u0302\u0303\u0304\u0307\u0308\u030a\u030b\u030c")
_LETTERS = frozenset("ÆæŒœØøßŁł")
_CHANGE = {"": "", "better": r"\uparrow", "worse": r"\downarrow"}
_SECOND_CHANGE = {"": "", "better": r"\dagger", "worse": r"\ddagger"}
_LINE = 14  # characters of a heading's line
_LABEL = 20  # characters of a name that still fits beside a matrix
_PERCENT = "\u202f%"
_SETUP = r"\sisetup{mode=text, reset-text-series=false, retain-explicit-plus, group-minimum-digits=9}"
_FITTED = (  # \width: of what is in it
    r"\resizebox{\ifdim\width>1.25\linewidth .8\width\else"
    r"\ifdim\width>\linewidth\linewidth\else\width\fi\fi}{!}{%"
)
_NEEDS = r"% Needs \usepackage{booktabs,graphicx,siunitx} with siunitx 3 or later."
_CHARACTER, _GAP = 4.9, 8.0  # points that a character of \small and the space between columns take
_NARROW = 270.0  # points that fit into a column of a two-column page
_PAGE = 450.0  # points that fit into the text of an article, at four fifths of their size
_LINES = 45  # of a page


def render(tables: Sequence[Table]) -> str:
    """Return tables as LaTeX, one under the other, without columns that are details."""
    narrow = [(table, table.without_details()) for table in tables]
    written = [
        _render(narrow_table) for table, narrow_table in narrow if narrow_table.columns or not table.columns
    ]
    return "\n".join([_NEEDS, *written])


def escape(text: str) -> str:
    """Return a text escaped so that LaTeX prints exactly it, on one line."""
    line = re.sub(r"[^\S\u00a0\u202f]+", " ", text).strip(" ")
    return "".join(_WRITTEN.get(character) or _character(character) for character in line)


def _character(character: str) -> str:
    """Return a character if pdfLaTeX can print it, else its code point as `[U+XXXX]`."""
    letter, *accents = list(unicodedata.normalize("NFD", character))
    is_latin = (
        character <= "\u017f"
        and letter.isascii()
        and letter.isalpha()
        and _ACCENTS.issuperset(accents)
        and len(accents) < 2
    )
    if " " <= character <= "~" or is_latin or character in _LETTERS:
        return character
    return f"{{[}}U+{ord(character):04X}]"


def _render(table: Table) -> str:
    """Return one table as LaTeX, divided into parts if it is too wide, with legend and notes below."""
    parts = _parts(table)
    numbers = {head.title: head.number for head in table.columns if head.number}
    is_long = any(len(label) > _LABEL for label in numbers)
    names = {label: number if is_long else f"{number} {escape(label)}" for label, number in numbers.items()}
    notes = [f"$^{{{letter}}}$ {escape(text)}" for letter, text in table.footnotes]
    explained = [*table.legend]
    if is_long:
        explained.append("; ".join(f"{number} {label}" for label, number in numbers.items()))
    elif numbers:
        explained.append("Columns are numbered like the rows")
    legend = [escape(". ".join(explained)) + "."] if explained else []
    below = [*legend, *notes, *map(escape, table.warnings)]
    tabulars = [_tabular(part, names) for part in parts]
    if len(parts) * len(table.rows) <= _LINES:
        lines = tabulars[0] + [line for tabular in tabulars[1:] for line in (r"\par\medskip", *tabular)]
        return _float(table, lines, below)
    return "\n".join(
        _float(part, tabular, below if number == len(parts) else [], number)
        for number, (part, tabular) in enumerate(zip(parts, tabulars, strict=True), 1)
    )


def _float(table: Table, tabulars: Sequence[str], below: Sequence[str], number: int = 1) -> str:
    """Return a floating environment with caption and label around tabulars.

    `number` is the part's number; parts from 2 on are marked as continued.
    """
    kind = "table*" if _width(table) > _NARROW else "table"
    caption = escape(table.caption) if number == 1 else f"{escape(table.caption.rstrip('.'))}, continued."
    return "\n".join(
        [
            rf"\begin{{{kind}}}[t]",
            r"\centering",
            r"\small",
            r"\setlength{\tabcolsep}{4pt}",
            _SETUP,
            rf"\caption{{{caption}}}",
            rf"\label{{{_label(table)}{f'-{number}' if number > 1 else ''}}}",
            *tabulars,
            *(rf"\par\smallskip{{\footnotesize\raggedright {note}\par}}" for note in below),
            rf"\end{{{kind}}}",
            "",
        ]
    )


def _label(table: Table) -> str:
    """Return a table's LaTeX label, which ends in a hash of its content, so that it is unique."""
    about = "|".join([*map(str, table.about.values()), *(row.label for row in table.rows)])
    return f"tab:{table.name}-{hashlib.sha256(about.encode()).hexdigest()[:6]}"


def _tabular(table: Table, names: Mapping[str, str]) -> list[str]:
    """Return the lines of a `tabular`; `names` are short row names by label."""
    columns = [_Column([row.cells[index] for row in table.rows]) for index in range(len(table.columns))]
    titles = [f"{{{head.number or _stacked(head.title)}}}" for head in table.columns]
    heads = [" & ".join([escape(table.row_title), *titles])]
    units = [
        r"\%" if column.is_percent else escape(h.unit)
        for column, h in zip(columns, table.columns, strict=True)
    ]
    if any(units):
        heads.append(" & ".join(["", *(f"{{({unit})}}" if unit else "" for unit in units)]))
    body = [_row(row, columns, names) for row in table.rows if row.role != "control"]
    controls = [_row(row, columns, names) for row in table.rows if row.role == "control"]
    return [
        _FITTED,
        rf"\begin{{tabular}}{{l{''.join(column.kind for column in columns)}}}",
        r"\toprule",
        *_sections(table),
        *(rf"{head} \\" for head in heads),
        r"\midrule",
        *body,
        *([r"\midrule", *controls] if body and controls else controls),
        r"\bottomrule",
        r"\end{tabular}}",
    ]


def _parts(table: Table) -> list[Table]:
    """Divide a table into tables of some of its columns, of similar width, that each fit on a page."""
    limit = _PAGE
    parts = _within(table, limit)
    while 1 < len(parts) < len(table.columns) and len(
        narrower := _within(table, limit := 0.95 * limit)
    ) == len(parts):
        parts = narrower
    return [table] if len(parts) == 1 else [table.with_columns(part) for part in parts]


def _within(table: Table, limit: float) -> list[list[int]]:
    """Divide column positions into runs whose tables are at most `limit` points wide, or one column."""
    parts: list[list[int]] = [[]]
    for index in range(len(table.columns)):
        if parts[-1] and _width(table.with_columns([*parts[-1], index])) > limit:
            parts.append([])
        parts[-1].append(index)
    return parts


def _width(table: Table) -> float:
    """Estimate the natural width of a table in points from its characters."""
    is_numbered = any(head.number and len(head.title) > _LABEL for head in table.columns)
    labels = max((len(row.name) + len(row.notes) for row in table.rows), default=0)
    widths = [6 if is_numbered else labels]
    for index, head in enumerate(table.columns):
        column = _Column([row.cells[index] for row in table.rows])
        title = head.number or max(_broken(head.title), key=len)
        words = (len(row.cells[index].text) for row in table.rows if row.cells[index].is_word)
        widths.append(max([len(title), column.characters, *words]))
    points = [_CHARACTER * width + _GAP for width in widths]
    lacking, start = 0.0, 1
    for title, span in table.sections if len(table.sections) > 1 else ():
        lacking += max(0.0, _CHARACTER * len(title) + _GAP - sum(points[start : start + span]))
        start += span
    return sum(points) + lacking


class _Column:
    """The alignment of a column's cells: on the decimal point if it has numbers, else to the left."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        texts = [cell.text for cell in cells if cell.value is not None]
        self.is_percent = bool(texts) and all(text.endswith(_PERCENT) for text in texts)
        numbers = [_number(text) for text in texts]
        parts = [number.lstrip("+-").partition(".") for number in numbers]
        self.whole = max((len(whole) for whole, _, _ in parts), default=0)
        self.decimals = max((len(decimals) for _, _, decimals in parts), default=0)
        spread = max((_spread(cell) for cell in cells), key=len, default="")
        change = max((_changes(cell) for cell in cells if cell.value is not None), key=len, default="")
        self.post = spread + change
        marks = max((len(cell.changes.strip()) for cell in cells if cell.value is not None), default=0)
        self.following = (
            3 + len(max((cell.spread for cell in cells), key=len, default="")) if spread else 0
        ) + marks
        self.is_signed = any(number.startswith(("+", "-")) for number in numbers)
        sign = "+" if self.is_signed else ""
        after = f"{{{self.post}}}" if self.post else ""
        self.kind = f"S[table-format={{{sign}{self.whole}.{self.decimals}{after}}}]" if numbers else "l"

    @property
    def characters(self) -> int:
        """Width of the column in characters: its widest number with the interval or mark behind it."""
        digits = self.whole + self.decimals + bool(self.decimals) + self.is_signed
        return digits + self.following

    def cell(self, cell: Cell) -> str:
        """Return a cell as LaTeX: a number for siunitx, a word in braces, an underlined one padded."""
        change = _spread(cell) + _changes(cell)
        if cell.value is None:
            return f"{{{escape(cell.text)}{change}}}"
        number = _number(cell.text)
        if cell.mark == "best":
            return rf"\bfseries {number}{change}"
        if cell.mark != "second":
            return f"{number}{change}"
        whole, point, decimals = number.lstrip("+-").partition(".")
        before = "0" * (self.whole - len(whole))
        behind = "0" * (self.decimals - len(decimals))
        behind = f".{behind}" if behind and not point else behind
        pads = [rf"\phantom{{{pad}}}" if pad else "" for pad in (before, behind)]
        post = change or (rf"\phantom{{{self.post}}}" if self.post else "")
        return rf"{{{pads[0]}\underline{{{number}}}{pads[1]}{post}}}"


def _changes(cell: Cell) -> str:
    """Return the marks of significant changes as one superscript; "" without any."""
    marks = _CHANGE[cell.change] + _SECOND_CHANGE[cell.second_change]
    return f"$^{{{marks}}}$" if marks else ""


def _spread(cell: Cell) -> str:
    """Return a cell's standard deviation with a plus-minus sign; "" without one."""
    return rf"$\,\pm\,${_number(cell.spread)}" if cell.spread else ""


def _number(text: str) -> str:
    """Return a printed number in siunitx's form, without separators and per cent signs."""
    return re.sub(f"{_PERCENT}|,", "", text).replace("\u2212", "-")


def _sections(table: Table) -> list[str]:
    """Return the lines of the headings over columns; empty if there is only one."""
    if len(table.sections) < 2:
        return []
    heads, rules, start = [""], [], 2
    for title, span in table.sections:
        heads.append(rf"\multicolumn{{{span}}}{{c}}{{{escape(title)}}}")
        if title:
            rules.append(rf"\cmidrule(lr){{{start}-{start + span - 1}}}")
        start += span
    return [rf"{' & '.join(heads)} \\", "".join(rules)]


def _row(row: Row, columns: Sequence[_Column], names: Mapping[str, str]) -> str:
    """Return a row as a line of LaTeX."""
    notes = f"$^{{{','.join(row.notes)}}}$" if row.notes else ""
    cells = [column.cell(cell) for column, cell in zip(columns, row.cells, strict=True)]
    return rf"{' & '.join([names.get(row.label, escape(row.name)) + notes, *cells])} \\"


def _stacked(title: str) -> str:
    """Return a heading as LaTeX, in several lines if it is long."""
    lines = _broken(title)
    written = r"\\".join(map(escape, lines))
    return rf"\shortstack{{{written}}}" if len(lines) > 1 else written


def _broken(title: str) -> list[str]:
    """Break a heading into lines of up to `_LINE` characters, at spaces and slashes."""
    lines = [""]
    for part in re.findall(r"[^\s/]+/?\s*|/\s*", title):
        if lines[-1] and len(lines[-1] + part.rstrip()) > _LINE:
            lines.append("")
        lines[-1] += part
    return lines
