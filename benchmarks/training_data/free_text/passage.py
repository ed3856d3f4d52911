"""A passage of free text with material for its queries, and functions that cut text into passages."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

SHORTEST_WORDS = 15
LONGEST_WORDS = 80

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(0-9])")


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage, with the words from which queries for it are made.

    Attributes:
        passage_id: unique over all sources, without white space; the part before the colon names the source.
        text: 15 to 80 words.
        heads: names of its subject, the most usual one first, as printed ("first strike").
        topic: a key of `templates.yaml`, such as "person".
        gloss: definition of the subject, without its name.
        relatives: names of neighbouring things, for comparisons.
        examples: sentences that use the name.
    """

    passage_id: str
    text: str
    heads: tuple[str, ...]
    topic: str
    gloss: str
    relatives: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


def chance(seed: int, *key: str) -> random.Random:
    """Return a random generator seeded by `seed` and key, so that other keys' draws do not influence it."""
    return random.Random(f"{seed}:{':'.join(key)}")  # noqa: S311 - sampling, not secrets


def squeeze(text: str) -> str:
    """Return the text on one line with single spaces."""
    return " ".join(text.split())


def cut_to_length(text: str) -> str | None:
    """Return the first whole sentences of a text, up to 80 words; None if these are fewer than 15 words.

    A first sentence of more than 80 words is cut.
    """
    words_kept: list[str] = []
    for sentence in _SENTENCE_END.split(squeeze(text)):
        words = sentence.split()
        if len(words_kept) + len(words) > LONGEST_WORDS:
            if len(words_kept) < SHORTEST_WORDS:
                words_kept += words[: LONGEST_WORDS - len(words_kept)]
            break
        words_kept += words
    return " ".join(words_kept) if len(words_kept) >= SHORTEST_WORDS else None


def in_passages(paragraphs: list[str]) -> list[str]:
    """Divide paragraphs into passages of 15 to 80 words, joining short ones and cutting between sentences."""
    passages: list[str] = []
    words_kept: list[str] = []
    for sentence in (part for text in paragraphs for part in _SENTENCE_END.split(squeeze(text))):
        words = sentence.split()
        if words_kept and len(words_kept) + len(words) > LONGEST_WORDS:
            passages.append(" ".join(words_kept))
            words_kept = []
        words_kept += words[:LONGEST_WORDS]
    passages.append(" ".join(words_kept))
    return [text for text in passages if len(text.split()) >= SHORTEST_WORDS]
