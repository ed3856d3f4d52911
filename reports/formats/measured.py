"""Writes the paragraph "How we measured" for a paper, as LaTeX, Markdown or plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.formats import latex, markdown
from reports.formats.text import terminal_width, wrapped
from rerankers.errors import UnknownNameError

if TYPE_CHECKING:
    from reports.analysis.values import Context

HOW_WE_MEASURED = "how-we-measured"
"""Its name among the layouts."""

_TITLE = "How we measured"


def how_we_measured(context: Context, format: str) -> str:  # noqa: A002 - the command line's own word
    """Return one paragraph per result folder on how it was measured.

    Args:
        context: the results.
        format: `latex`, `markdown` or `text`.

    Raises:
        UnknownNameError: another format.
    """
    paragraphs = [" ".join(experiment.method) for experiment in context.experiments if experiment.method]
    if format == "latex":
        return "\n\n".join(rf"\paragraph{{{_TITLE}.}} {latex.escape(paragraph)}" for paragraph in paragraphs)
    if format == "markdown":
        return "\n\n".join(f"**{_TITLE}.** {markdown.escape(paragraph)}" for paragraph in paragraphs)
    if format == "text":
        return "\n\n".join("\n".join(wrapped(paragraph, terminal_width())) for paragraph in paragraphs)
    raise UnknownNameError("format of a paragraph", format, ("latex", "markdown", "text"))
