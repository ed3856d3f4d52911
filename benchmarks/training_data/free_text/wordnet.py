"""Makes passages from WordNet's data files (format: wndb(5WN) of WordNet 3.0).

A synset becomes a short explanatory passage: its gloss, perhaps its hypernym, its kinds and its parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.training_data.free_text.passage import LONGEST_WORDS, SHORTEST_WORDS, Passage, chance, squeeze

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

# Lexicographer files (lexnames(5WN)) whose members are asked about in ways of their own.
_TOPICS = {
    4: "act", 5: "animal", 6: "artifact", 8: "body", 13: "food", 14: "group", 15: "place", 17: "nature",
    18: "person", 19: "phenomenon", 20: "plant", 22: "process", 26: "state", 27: "substance",
}  # fmt: skip
_DISEASE = re.compile(
    r"\b(disease|disorder|syndrome|infection|inflammation|illness|symptom|cancer|tumou?r)\b"
)
_EXAMPLE = re.compile(r'"([^"]+)"')


@dataclass(frozen=True, slots=True)
class Synset:
    """A set of synonyms: words as printed, definition, example sentences, and keys of related synsets."""

    key: str
    lexicographer_file: int
    words: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]
    pointers: dict[str, list[str]]


def read_synsets(root: Path) -> dict[str, Synset]:
    """Read all synsets below `root`; return them by part of speech and offset."""
    synsets = {}
    for part, name in (("n", "noun"), ("v", "verb"), ("a", "adj"), ("r", "adv")):
        path = next(root.rglob(f"data.{name}"))
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):  # the licence stands in indented lines
                synset = _synset(part, line)
                synsets[synset.key] = synset
    return synsets


def wordnet_passages(root: Path, seed: int) -> Iterator[Passage]:
    """Yield a passage for each synset of WordNet that gives at least 15 words."""
    synsets = read_synsets(root)
    for synset in synsets.values():
        generator = chance(seed, "wordnet", synset.key)
        text = _text(synset, synsets, generator)
        if text is None:
            continue
        parents = [synsets[key] for key in _related(synset, "@", "@i")]
        siblings = [synsets[key].words[0] for parent in parents[:1] for key in _related(parent, "~")]
        relatives = [word for word in siblings if word not in synset.words]
        yield Passage(
            passage_id=f"wordnet:{synset.key}",
            text=text,
            heads=synset.words,
            topic=_topic(synset),
            gloss=synset.definition,
            relatives=tuple(generator.sample(relatives, min(3, len(relatives)))),
            examples=synset.examples,
        )


def _synset(part: str, line: str) -> Synset:
    """Parse a line of a WordNet data file into a synset of this part of speech."""
    fields, _, gloss = line.partition("|")
    offset, lexicographer_file, _, count, *rest = fields.split()
    n_words = int(count, 16)
    words = [re.sub(r"\((a|p|ip)\)$", "", word).replace("_", " ") for word in rest[: 2 * n_words : 2]]
    n_pointers, *pointers = rest[2 * n_words :]
    related: dict[str, list[str]] = {}
    for index in range(int(n_pointers)):
        symbol, target, target_part, _ = pointers[4 * index : 4 * index + 4]
        related.setdefault(symbol, []).append(target_part.replace("s", "a") + target)
    definition = _EXAMPLE.split(gloss)[0].strip(" ;:")
    return Synset(
        part + offset,
        int(lexicographer_file),
        tuple(dict.fromkeys(words)),
        squeeze(definition),
        tuple(_EXAMPLE.findall(gloss)),
        related,
    )


def _related(synset: Synset, *symbols: str) -> list[str]:
    """Return the keys of the synsets that a synset points to with one of these symbols."""
    return [key for symbol in symbols for key in synset.pointers.get(symbol, [])]


def _topic(synset: Synset) -> str:
    """Return the topic of a synset's query templates, such as `animal`."""
    if synset.key[0] != "n":
        return "word"
    if "@i" in synset.pointers and synset.lexicographer_file == 18:
        return "biography"
    if synset.lexicographer_file in {22, 26} and _DISEASE.search(synset.definition):
        return "disease"
    return _TOPICS.get(synset.lexicographer_file, "thing")


def _text(synset: Synset, synsets: dict[str, Synset], generator: Random) -> str | None:
    """Return a passage of a random length on a synset; None if its sentences do not give 15 to 80 words.

    It starts with the definition; examples and sentences on related synsets follow.
    """
    sentences = [_first_sentence(synset, generator)]
    more = [_sentence(example) for example in synset.examples[:2]] + _relations(synset, synsets, generator)
    wanted = SHORTEST_WORDS + generator.choice((0, 5, 15, 30, 50))
    for sentence in more:
        n_words = len(" ".join(sentences).split())
        if n_words < wanted and n_words + len(sentence.split()) <= LONGEST_WORDS:
            sentences.append(sentence)
    words = squeeze(" ".join(sentences)).split()
    return " ".join(words) if SHORTEST_WORDS <= len(words) <= LONGEST_WORDS else None


def _first_sentence(synset: Synset, generator: Random) -> str:
    """Return a sentence that defines a synset, with random phrasing and synonyms."""
    head, *others = synset.words
    also = f" ({generator.choice(('also', 'also called', 'or'))} {', '.join(others[:3])})" if others else ""
    start = head[0].upper() + head[1:]
    if synset.key[0] != "n":
        return _sentence(f"{start}{also} {generator.choice(('means', '-', 'is'))} {synset.definition}")
    proper = head[0].isupper()
    article = "" if proper or generator.random() < 0.5 else ("An " if head[0] in "aeiou" else "A ")
    start = f"{article}{head if article else start}"
    joint = generator.choice((" is ", " is ", ": ", ", ", " refers to ", " - "))
    return _sentence(f"{start}{also}{joint}{synset.definition}")


def _relations(synset: Synset, synsets: dict[str, Synset], generator: Random) -> list[str]:
    """Return sentences on a synset's hypernym, kinds, parts and wholes, in random order."""
    sentences = []
    head = synset.words[0]
    for key in _related(synset, "@", "@i")[:1]:
        parent = synsets[key]
        if synset.key[0] == "n" and "@" in synset.pointers:
            sentences.append(_sentence(f"It is a kind of {parent.words[0]}, {parent.definition}"))
    for symbols, opening in (
        (("~",), f"Types of {head} include"),
        (("%p", "%m", "%s"), f"Parts of {head} include"),
        (("#p", "#m"), "It is part of"),
    ):
        names = [synsets[key].words[0] for key in _related(synset, *symbols)]
        if names:
            chosen = generator.sample(names, min(6, len(names)))
            sentences.append(_sentence(f"{opening} {', '.join(chosen)}"))
    generator.shuffle(sentences)
    return sentences


def _sentence(text: str) -> str:
    """Return a text with a capital first letter and a final punctuation mark."""
    text = squeeze(text)
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?" else text + "."
