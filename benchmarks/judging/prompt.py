"""The prompt template that asks for a grade from 0 to 3, and the parser of the model's output.

The template is UMBRELA's (arXiv 2406.06519). Where its code takes an output without a grade for a 0, this one
gives no grade, and the passage stays unjudged.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rerankers.chat.conversation import ChatCompletion, Message

GRADES = (0, 1, 2, 3)
"""The grades that the prompt template names."""

_GRADE = r"[\"'*#:=\s]*([0-3])(?![\d/%]|[.,]\d)"
_READINGS = (
    rf"final[\s_]*score(?:\s*\(O\))?(?:\s+is)?{_GRADE}",
    rf"overall(?:[\s_]*score)?(?:\s*\(O\))?(?:\s+is)?{_GRADE}",
    rf"(?:\bO\b|\(O\)|\bo_score\b){_GRADE}",
    rf"(?:relevance\s+)?category(?:\s+is)?{_GRADE}",
)
_PATTERNS = tuple(re.compile(reading, re.IGNORECASE) for reading in _READINGS)
_ALONE = re.compile(r"[\W_]*([0-3])[\W_]*")


class Template(NamedTuple):
    """A prompt template that asks for a grade from 0 to 3.

    Attributes:
        user: the user's turn, with `{query}` and `{passage}`.
        source: the publication and file that it is from.
        max_new_tokens: longest output, as in the published code.
    """

    name: str
    source: str
    max_new_tokens: int
    user: str

    @property
    def digest(self) -> str:
        """First 16 hex digits of the sha256 of the template's text."""
        return hashlib.sha256(self.user.encode()).hexdigest()[:16]

    def messages(self, query: str, passage: str) -> list[Message]:
        """Return the conversation that asks for one passage's grade, with query and passage filled in."""
        values = {"query": query, "passage": passage}
        content = re.sub(r"\{(query|passage)\}", lambda match: values[match[1]], self.user)
        return [{"role": "user", "content": content}]


@lru_cache(maxsize=1)
def umbrela() -> Template:
    """Load UMBRELA's zero-shot template."""
    content = Path(__file__).with_name("umbrela.toml").read_text(encoding="utf-8")
    return Template(**tomllib.loads(content))


def read_grade(text: str) -> int | None:
    """Parse the grade, 0 to 3, in a model output; None if it states none.

    The first `final score` counts, then the first overall score (O), then the first category. An output that
    is one digit and nothing else is that grade.
    """
    for pattern in _PATTERNS:
        if match := pattern.search(text):
            return int(match[1])
    alone = _ALONE.fullmatch(text)
    return int(alone[1]) if alone else None


def states_grade(text: str) -> bool:
    """Return whether an output so far contains a final score and at least one character after it."""
    match = _PATTERNS[0].search(text)
    return match is not None and match.end() < len(text)


def fault_of(answer: ChatCompletion) -> str:
    """Return a model output's kind of fault, `refused`, `cut_off` or `malformed`; "" if it states a grade."""
    if answer.end == "refused":
        return "refused"
    if read_grade(answer.text) is not None:
        return ""
    return "cut_off" if answer.end == "cut_off" else "malformed"
