"""Short queries for a passage, as people type them into a search box: lower case, few words, rarely a mark.

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
    """Return words that tell nothing about a passage."""
    return frozenset(Path(__file__).with_name("stop_words.txt").read_text(encoding="utf-8").split())


@cache
def templates() -> dict[str, list[str]]:
    """Query templates by topic."""
    by_topic: dict[str, list[str]] = yaml.safe_load(
        Path(__file__).with_name("templates.yaml").read_text(encoding="utf-8")
    )
    return by_topic


def queries_for(passage: Passage, seed: int, count: int = 3) -> list[tuple[str, str]]:
    """Return up to `count` different queries for a passage, each with its kind: template,
    phrase or example.
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
    topic_templates = templates()[passage.topic]
    general_templates = [] if passage.topic in _ONLY_THEIR_OWN else templates()["every"]
    pool = topic_templates if not general_templates or generator.random() < 0.4 else general_templates
    if passage.relatives and generator.random() < 0.12:
        pool = templates()["compared"]
    template = generator.choice(pool)
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
    """Return one to three telling words of the definition, in their order."""
    heads = {word.lower() for head in passage.heads for word in head.split()}
    words = [word for word in re.findall(r"[A-Za-z][\w'-]+", passage.gloss) if len(word) > 2]
    telling = [word for word in dict.fromkeys(words) if word.lower() not in stop_words() | heads]
    chosen = set(generator.sample(telling, min(generator.randint(1, 3), len(telling))))
    return " ".join(word for word in telling if word in chosen)


def _trimmed(words: list[str]) -> str:
    """Return a phrase without function words at either end, where a cut left them;
    an article may stay in front.
    """
    while words and words[0].lower() in stop_words() - {"a", "an", "the"}:
        words = words[1:]
    while words and words[-1].lower().strip(",.;") in stop_words():
        words = words[:-1]
    return " ".join(words)


def _as_typed(text: str, generator: Random) -> str:
    """Return a query as people type it: mostly lower case and bare of marks; now and then a question mark."""
    text = squeeze(re.sub(r"[\"“”()\[\];:!?]|[.,](?=\s|$)", " ", text))
    if generator.random() < 0.92:
        text = text.lower()
    return text + "?" if text and generator.random() < 0.03 else text
