"""Makes short queries for a passage, as people type them: lower case, few words, rarely punctuation.

Every passage gets a fixed number of queries of different kinds: templates about its head (`templates.yaml`),
phrases cut from its text, and example sentences. All draws are seeded by the passage's id.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from benchmarks.training_data.free_text.passage import chance, squeeze

if TYPE_CHECKING:
    from random import Random

    from benchmarks.training_data.free_text.passage import Passage

_LONGEST_QUERY_WORDS = 14
# Topics for which a definition is not what the passage gives.
_ONLY_THEIR_OWN = frozenset({"section", "part", "nation"})


@cache
def stop_words() -> frozenset[str]:
    """Return function words, which do not distinguish passages."""
    return frozenset(Path(__file__).with_name("stop_words.txt").read_text(encoding="utf-8").split())


@cache
def templates() -> dict[str, list[str]]:
    """Return the query templates by topic, loaded from `templates.yaml`."""
    by_topic: dict[str, list[str]] = yaml.safe_load(
        Path(__file__).with_name("templates.yaml").read_text(encoding="utf-8")
    )
    return by_topic


def queries_for(passage: Passage, seed: int, count: int = 3) -> list[tuple[str, str]]:
    """Return up to `count` distinct queries for a passage as (text, kind) pairs.

    A kind is `template`, `phrase` or `example`. Equal arguments give equal queries.
    """
    generator = chance(seed, "queries", passage.passage_id)
    queries: dict[str, str] = {}
    for _ in range(4 * count):  # some draws are empty or alike
        kind = generator.choices(("template", "phrase", "example"), weights=(74, 17, 9))[0]
        query = _as_typed(_draw(kind, passage, generator), generator)
        if 1 <= len(query.split()) <= _LONGEST_QUERY_WORDS and len(query) >= 3 and len(queries) < count:
            queries.setdefault(query, kind)
    return list(queries.items())


def _draw(kind: str, passage: Passage, generator: Random) -> str:
    """Draw one query of a kind for a passage; empty if the passage has no material for it."""
    if kind == "example":
        if not passage.examples:
            return ""
        words = generator.choice(passage.examples).split()
        return " ".join(words[: generator.randint(4, _LONGEST_QUERY_WORDS)])
    if kind == "phrase":
        words = passage.text.split()
        length = generator.randint(4, 9)
        start = generator.randrange(max(1, len(words) - length))
        phrase = _trimmed(words[start : start + length])
        return phrase if len(phrase.split()) >= 3 else ""
    return _from_template(passage, generator)


def _from_template(passage: Passage, generator: Random) -> str:
    """Fill in a random template for the passage's topic; empty if a value for it is missing."""
    topic_templates = templates()[passage.topic]
    general_templates = [] if passage.topic in _ONLY_THEIR_OWN else templates()["every"]
    choices = topic_templates if not general_templates or generator.random() < 0.4 else general_templates
    if passage.relatives and generator.random() < 0.12:
        choices = templates()["compared"]
    template = generator.choice(choices)
    heads = passage.heads[:3]
    values = {"x": generator.choice((heads[0], *heads))}
    if "{y}" in template:
        values["y"] = generator.choice(passage.relatives)
    if "{key}" in template:
        values["key"] = _key_words(passage, generator)
    if "{gloss}" in template:
        words = re.split(r"[;:(]", re.sub(r"^\([^)]*\)", "", passage.gloss))[0].split()
        values["gloss"] = _trimmed(words[: generator.randint(3, 9)])
    return template.format(**values) if all(values.values()) else ""


def _key_words(passage: Passage, generator: Random) -> str:
    """Return one to three random content words of the passage's definition, in their order."""
    heads = {word.lower() for head in passage.heads for word in head.split()}
    words = [word for word in re.findall(r"[A-Za-z][\w'-]+", passage.gloss) if len(word) > 2]
    content_words = [word for word in dict.fromkeys(words) if word.lower() not in stop_words() | heads]
    chosen = set(generator.sample(content_words, min(generator.randint(1, 3), len(content_words))))
    return " ".join(word for word in content_words if word in chosen)


def _trimmed(words: list[str]) -> str:
    """Return a phrase without function words at either end; an article may stay in front."""
    while words and words[0].lower() in stop_words() - {"a", "an", "the"}:
        words = words[1:]
    while words and words[-1].lower().strip(",.;") in stop_words():
        words = words[:-1]
    return " ".join(words)


def _as_typed(text: str, generator: Random) -> str:
    """Return a query mostly in lower case, without punctuation and with a rare question mark, at random."""
    text = squeeze(re.sub(r"[\"“”()\[\];:!?]|[.,](?=\s|$)", " ", text))
    if generator.random() < 0.92:
        text = text.lower()
    return text + "?" if text and generator.random() < 0.03 else text
