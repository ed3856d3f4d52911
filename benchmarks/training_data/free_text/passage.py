"""A passage of free text, with what its queries are made of."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

SHORTEST_WORDS = 15
LONGEST_WORDS = 80

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(0-9])")


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage and the words that a query for it can use.

    Attributes:
        passage_id: unique over all sources, without white space; the part before the colon names the source.
        text: 15 to 80 words.
        heads: what the passage is about, the most usual name first, as printed ("first strike").
        topic: a row of `TEMPLATES` in `queries`, e.g. "person".
        gloss: what it says about its head, without the head itself.
        relatives: heads of neighbouring things, for comparisons.
        examples: sentences that use the head.
    """

    passage_id: str
    text: str
    heads: tuple[str, ...]
    topic: str
    gloss: str
    relatives: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


def chance(seed: int, *key: str) -> random.Random:
    """Return a generator of its own for each key, so that one passage more or less changes no other."""
    return random.Random(f"{seed}:{':'.join(key)}")  # noqa: S311 - sampling, not secrets


def squeeze(text: str) -> str:
    """Return the text on one line with single spaces."""
    return " ".join(text.split())


def cut_to_length(text: str) -> str | None:
    """Return whole sentences of up to 80 words; a longer first sentence is cut; None under 15 words."""
    kept: list[str] = []
    for sentence in _SENTENCE_END.split(squeeze(text)):
        words = sentence.split()
        if len(kept) + len(words) > LONGEST_WORDS:
            if len(kept) < SHORTEST_WORDS:
                kept += words[: LONGEST_WORDS - len(kept)]
            break
        kept += words
    return " ".join(kept) if len(kept) >= SHORTEST_WORDS else None


def in_passages(paragraphs: list[str]) -> list[str]:
    """Return paragraphs as passages: short neighbours joined, long ones cut where a sentence ends."""
    passages: list[str] = []
    kept: list[str] = []
    for sentence in (part for text in paragraphs for part in _SENTENCE_END.split(squeeze(text))):
        words = sentence.split()
        if kept and len(kept) + len(words) > LONGEST_WORDS:
            passages.append(" ".join(kept))
            kept = []
        kept += words[:LONGEST_WORDS]
    passages.append(" ".join(kept))
    return [text for text in passages if len(text.split()) >= SHORTEST_WORDS]
