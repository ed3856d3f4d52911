"""Options that several rerankers share: declared once, written beside a reranker's own.

A constructor takes a group as one parameter; in experiment files and on the command line its options stand
among the others, and `registry.create` puts them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.llm.options import ChatOptions, ComparisonOptions
from rerankers.sentence_model import SentenceModelOptions

if TYPE_CHECKING:
    from pydantic import BaseModel

GROUPS: tuple[type[BaseModel], ...] = (ChatOptions, ComparisonOptions, SentenceModelOptions)


def option_group(annotation: object) -> type[BaseModel] | None:
    """The group that a constructor's parameter takes, by its annotation; None for an option."""
    name = getattr(annotation, "__name__", annotation)  # a string, where annotations are not evaluated
    return next((group for group in GROUPS if group.__name__ == name), None)
