"""Tables as LaTeX for papers: booktabs, with caption, label and a legend of the marks.

The text compiles with pdfLaTeX and needs `\\usepackage{booktabs}` only. Characters beyond Latin letters and
common punctuation, which pdfLaTeX has no glyphs for, are written by their code point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.tables import tables

if TYPE_CHECKING:
    from reports.cells import Cell, Row, Table
    from reports.values import Context

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
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "\u2212": "$-$",
    "\u00d7": r"$\times$",
    "\u2013": "--",
    "\u2014": "---",
    "\u2019": "'",
    "\u202f": r"\,",
    "\u00a0": "~",
    "\u25b2": r"$^{\uparrow}$",
    "\u25bc": r"$^{\downarrow}$",
}
_CHANGE = {"": "", "better": r"$^{\uparrow}$", "worse": r"$^{\downarrow}$"}


def render(context: Context, layout: str = "headline") -> str:
    """All tables of a layout, one under the other."""
    return "\n".join(_render(one) for one in tables(context, layout, narrow=True))


def escape(text: str) -> str:
    """Any text so that LaTeX prints exactly it, on one line."""
    return "".join(_WRITTEN.get(character) or _character(character) for character in " ".join(text.split()))


def _character(character: str) -> str:
    if " " <= character <= "~" or "\u00c0" <= character <= "\u017e":
        return character
    return f"[U+{ord(character):04X}]"


def _render(one: Table) -> str:
    heads = [" & ".join(["System", *(escape(column.title) for column in one.columns)])]
    units = [f"({escape(column.unit)})" if column.unit else "" for column in one.columns]
    if any(units):
        heads.append(" & ".join(["", *units]))
    body = [_row(row) for row in one.rows if row.role != "control"]
    controls = [_row(row) for row in one.rows if row.role == "control"]
    notes = [f"$^{letter}$ {escape(text)}" for letter, text in one.footnotes]
    warnings = [escape(warning) for warning in one.warnings]
    legend = [escape(". ".join(one.legend)) + "."] if one.legend else []
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering",
            r"\small",
            r"\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{escape(one.caption)}}}",
            rf"\label{{tab:{one.name}}}",
            rf"\begin{{tabular}}{{l{'r' * len(one.columns)}}}",
            r"\toprule",
            *_sections(one),
            *(rf"{head} \\" for head in heads),
            r"\midrule",
            *body,
            *([r"\midrule", *controls] if controls else []),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\smallskip{{\footnotesize {note}\par}}" for note in [*legend, *notes, *warnings]),
            r"\end{table}",
            "",
        ]
    )


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


def _row(row: Row) -> str:
    notes = f"$^{{{','.join(row.notes)}}}$" if row.notes else ""
    return rf"{' & '.join([escape(row.label) + notes, *map(_cell, row.cells)])} \\"


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.mark == "best":
        text = rf"\textbf{{{text}}}"
    elif cell.mark == "second":
        text = rf"\underline{{{text}}}"
    return text + _CHANGE[cell.change]
