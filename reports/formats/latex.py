"""Tables as LaTeX for papers: booktabs, numbers aligned by siunitx, with caption, label and a legend.

The text compiles with pdfLaTeX and needs

    \\usepackage{booktabs,graphicx,siunitx}

with siunitx 3 or later; graphicx shrinks a table that is wider than its column. Characters that pdfLaTeX has
no glyphs for in its default encoding are written by their code point.
"""

from __future__ import annotations

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
    "\u25b2": r"$^{\uparrow}$",
    "\u25bc": r"$^{\downarrow}$",
}
_ACCENTS = frozenset("\u0300\u0301\u0302\u0303\u0304\u0307\u0308\u030a\u030b\u030c")
_LETTERS = frozenset("ÆæŒœØøßŁł")
_CHANGE = {"": "", "better": r"$^{\uparrow}$", "worse": r"$^{\downarrow}$"}
_LINE = 14  # characters of a heading's line
_LABEL = 20  # characters of a name that still fits beside a matrix
_PERCENT = "\u202f%"
_SETUP = r"\sisetup{mode=text, reset-text-series=false, retain-explicit-plus, group-minimum-digits=9}"
_FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # \width: of what is in it


def render(tables: Sequence[Table]) -> str:
    """Write tables one under the other, without the columns that are details."""
    return "\n".join(
        _render(narrow)
        for table in tables
        for narrow in [table.without_details()]
        if narrow.columns or not table.columns
    )


def escape(text: str) -> str:
    """Any text so that LaTeX prints exactly it, on one line."""
    line = re.sub(r"[^\S\u00a0\u202f]+", " ", text).strip(" ")
    return "".join(_WRITTEN.get(character) or _character(character) for character in line)


def _character(character: str) -> str:
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


def _render(one: Table) -> str:
    columns = [_Column([row.cells[place] for row in one.rows]) for place in range(len(one.columns))]
    numbers = {head.title: head.number for head in one.columns if head.number}
    heads = [" & ".join(["System", *(f"{{{head.number or _stacked(head.title)}}}" for head in one.columns)])]
    units = [
        r"\%" if column.is_percent else escape(h.unit) for column, h in zip(columns, one.columns, strict=True)
    ]
    if any(units):
        heads.append(" & ".join(["", *(f"{{({unit})}}" if unit else "" for unit in units)]))
    is_long = any(len(label) > _LABEL for label in numbers)
    names = {label: number if is_long else f"{number} {escape(label)}" for label, number in numbers.items()}
    body = [_row(row, columns, names) for row in one.rows if row.role != "control"]
    controls = [_row(row, columns, names) for row in one.rows if row.role == "control"]
    notes = [f"$^{{{letter}}}$ {escape(text)}" for letter, text in one.footnotes]
    warnings = [escape(warning) for warning in one.warnings]
    explained = [*one.legend]
    if is_long:
        explained.append("; ".join(f"{number} {label}" for label, number in numbers.items()))
    elif numbers:
        explained.append("Columns are numbered like the rows")
    legend = [escape(". ".join(explained)) + "."] if explained else []
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering",
            r"\small",
            r"\setlength{\tabcolsep}{4pt}",
            _SETUP,
            rf"\caption{{{escape(one.caption)}}}",
            rf"\label{{tab:{one.name}}}",
            _FITTED,
            rf"\begin{{tabular}}{{l{''.join(column.kind for column in columns)}}}",
            r"\toprule",
            *_sections(one),
            *(rf"{head} \\" for head in heads),
            r"\midrule",
            *body,
            *([r"\midrule", *controls] if body and controls else controls),
            r"\bottomrule",
            r"\end{tabular}}",
            *(
                rf"\par\smallskip{{\footnotesize\raggedright {note}\par}}"
                for note in [*legend, *notes, *warnings]
            ),
            r"\end{table}",
            "",
        ]
    )


class _Column:
    """The alignment of a column of cells: on the decimal point where there are numbers,
    else to the left.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        texts = [cell.text for cell in cells if cell.value is not None]
        self.is_percent = bool(texts) and all(text.endswith(_PERCENT) for text in texts)
        numbers = [_number(text) for text in texts]
        parts = [number.lstrip("+-").partition(".") for number in numbers]
        self.whole = max((len(whole) for whole, _, _ in parts), default=0)
        self.decimals = max((len(decimals) for _, _, decimals in parts), default=0)
        spread = max((_spread(cell) for cell in cells), key=len, default="")
        change = next((_CHANGE[cell.change] for cell in cells if cell.change and cell.value is not None), "")
        self.post = spread + change
        sign = "+" if any(number.startswith(("+", "-")) for number in numbers) else ""
        after = f"{{{self.post}}}" if self.post else ""
        self.kind = f"S[table-format={{{sign}{self.whole}.{self.decimals}{after}}}]" if numbers else "l"

    def cell(self, cell: Cell) -> str:
        """Return a number as siunitx reads it, a word in braces;
        what is underlined padded to the same width.
        """
        change = _spread(cell) + _CHANGE[cell.change]
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


def _spread(cell: Cell) -> str:
    return rf"$\,\pm\,${_number(cell.spread)}" if cell.spread else ""


def _number(text: str) -> str:
    """Return a printed number without what is there for the eye."""
    return re.sub(f"{_PERCENT}|,", "", text).replace("\u2212", "-")


def _sections(one: Table) -> list[str]:
    if len(one.sections) < 2:
        return []
    heads, rules, start = [""], [], 2
    for title, span in one.sections:
        heads.append(rf"\multicolumn{{{span}}}{{c}}{{{escape(title)}}}")
        if title:
            rules.append(rf"\cmidrule(lr){{{start}-{start + span - 1}}}")
        start += span
    return [rf"{' & '.join(heads)} \\", "".join(rules)]


def _row(row: Row, columns: Sequence[_Column], names: Mapping[str, str]) -> str:
    notes = f"$^{{{','.join(row.notes)}}}$" if row.notes else ""
    cells = [column.cell(cell) for column, cell in zip(columns, row.cells, strict=True)]
    return rf"{' & '.join([names.get(row.label, escape(row.name)) + notes, *cells])} \\"


def _stacked(title: str) -> str:
    """Return a heading in lines of up to `_LINE` characters where its words and slashes let it break."""
    lines = [""]
    for part in re.findall(r"[^\s/]+/?\s*|/\s*", title):
        if lines[-1] and len(lines[-1] + part.rstrip()) > _LINE:
            lines.append("")
        lines[-1] += part
    written = r"\\".join(map(escape, lines))
    return rf"\shortstack{{{written}}}" if len(lines) > 1 else written
