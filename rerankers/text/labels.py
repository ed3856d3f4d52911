"""Labels A, B, C for the passages of a prompt, and the label that a chat model's output selects."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

from rerankers.listwise.prompts import passage_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.chat.conversation import ChatCompletion
    from rerankers.interface import RerankRequest, Usage

# "Passage A" anywhere, or a letter that is all of the answer or set off by a sign; "A glacier" is no label.
_LABEL = re.compile(r"(?i:passage)\s+([A-Z])\b|\A\W*([A-Z])(?=\W*\Z|[.:)\]])")


def cut_passages(request: RerankRequest, longest: int, usage: Usage) -> list[str]:
    """Return the candidates' texts, each cut to its first `longest` words; `usage` counts the cut ones."""
    words = [passage_words(candidate.text) for candidate in request.candidates]
    usage.passages_truncated = sum(len(passage) > longest for passage in words)
    return ["".join(passage[:longest]) for passage in words]


def label_passages(texts: Sequence[str]) -> str:
    """Return all passages as one text, `Passage A: ...` and so on, with an empty line between them."""
    lettered = zip(string.ascii_uppercase, texts, strict=False)
    return "\n\n".join(f"Passage {label}: {text}" for label, text in lettered)


def read_choice(answer: ChatCompletion, count: int, usage: Usage) -> int | None:
    """Return the position (from 0) of the passage, out of `count`, whose label the model output names.

    None if it names no passage shown. `usage` counts the output as well-formed, or its faults by kind.
    """
    label = _LABEL.search(answer.text)
    position = string.ascii_uppercase.index(label[1] or label[2]) if label else None
    if position is not None and position < count:
        usage.well_formed += 1
        return position
    usage.fault("malformed")
    if position is not None:
        usage.fault("out_of_range")
    elif answer.end in ("cut_off", "refused"):
        usage.fault(answer.end)
    return None


def has_label(text: str) -> bool:
    """Return whether a growing model output holds a complete label: one that a further character follows."""
    label = _LABEL.search(text)
    return label is not None and label.end() < len(text)
