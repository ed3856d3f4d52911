"""Passages from dictionaries in the dictd format: GCIDE, FOLDOC, the Jargon File, the Elements, V.E.R.A.

A `.dict.dz` file is gzip; the `.index` beside it gives headword, offset and length in base 64 (RFC 2229's
server, dictd(8)). Mark-up, sources and pronunciations of each dictionary are stripped.
"""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

from benchmarks.training_data.free_text.passage import Passage, cut_to_length, in_passages, squeeze

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIGITS = {
    digit: value
    for value, digit in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
}
_GCIDE_SENSE = re.compile(r"^ {3}(?:\d+|\([a-z]\))\.? ", re.MULTILINE)
_GCIDE_AFTER = re.compile(r"^ {3,}(?:Syn|Note|Usage):", re.MULTILINE)
_GCIDE_MARKUP = (
    (re.compile(r"[{}`]"), ""),
    (re.compile(r"\\[^\\]*\\,?"), " "),  # pronunciations
    (re.compile(r"^ {9,}.*$", re.MULTILINE), " "),  # verse and long quotations
    (re.compile(r"--\s*[A-Z][^.\n]*\.?(?:\s+[ivxlc]+\.\s*\d*\.?)?"), " "),  # --Sir W. Scott.
    (re.compile(r"\((?:[A-Z][a-z.&\s]{1,20})\)"), " "),  # (Med.)
    (re.compile(r"\"[^\"]*\""), " "),  # quotations
    (re.compile(r"\s+([,.;:])"), r"\1"),
)
_INNERMOST_BRACKETS = re.compile(r"\[[^\[\]]*\]")  # [1913 Webster], etymologies, [common]
_FOLDOC_MARKUP = (
    (re.compile(r"\{\(?(?:https?|ftp)://[^}]*\}"), ""),
    (re.compile(r"\(\d{4}-\d\d-\d\d\)"), ""),
    (re.compile(r"[{}]"), ""),
)
_DISEASES = re.compile(r"\((?:Med|Pathol|Surg)\.\)")
_SCIENCES = {"Zool": "animal", "Bot": "plant", "Anat": "body", "Chem": "substance", "Min": "substance"}


def read_entries(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """Yield (first headword, text) of each article of a dictionary below `folder`, in the file's order."""
    path = next(folder.rglob(f"{name}.dict.dz"))
    data = gzip.decompress(path.read_bytes())
    articles: dict[tuple[int, int], str] = {}
    for line in path.with_name(f"{name}.index").read_text(encoding="utf-8").splitlines():
        head, start, length = line.split("\t")[:3]
        if not head.startswith("00"):
            articles.setdefault((_number(start), _number(length)), head)
    for (begin, size), head in sorted(articles.items()):
        yield head, data[begin : begin + size].decode("utf-8", errors="replace")


def gcide_passages(folder: Path) -> Iterator[Passage]:
    """Yield one passage with the first senses of each sufficiently long article of GCIDE."""
    for number, (head, article) in enumerate(read_entries(folder, "gcide")):
        title, _, body = _without_brackets(article).partition("\n")
        name = re.match(r"\s*([^\\\[\n]+?)\s*\\", title)
        if not name or len(head) < 3:
            continue
        body = re.split(r"\n\s*\n {3}\{", body)[0]  # run-on phrases have articles of their own
        sense = _GCIDE_AFTER.split(body)[0]
        topic = _gcide_topic(title, sense)
        for pattern, new in _GCIDE_MARKUP:
            sense = pattern.sub(new, sense)
        senses = [squeeze(part) for part in _GCIDE_SENSE.split(sense)]
        gloss = next((part for part in senses if len(part.split()) >= 4), "")
        text = cut_to_length(f"{name[1]}: {' '.join(part for part in senses if part)}")
        if text and gloss:
            yield Passage(f"gcide:{number}", text, (name[1],), topic, gloss)


def foldoc_passages(folder: Path) -> Iterator[Passage]:
    """Yield passages of FOLDOC, the dictionary of computing; a long article gives several."""
    for number, (head, article) in enumerate(read_entries(folder, "foldoc")):
        article = _without_brackets(article)
        for pattern, new in _FOLDOC_MARKUP:
            article = pattern.sub(new, article)
        title, *paragraphs = re.split(r"\n\s*\n", article.strip())
        title = squeeze(title.split("\n")[0])
        body = re.sub(r"<[^<>]*>", " ", "\n\n".join(paragraphs))
        yield from _articles(f"foldoc:{number}", title or head, re.split(r"\n\s*\n", body), "technology")


def jargon_passages(folder: Path) -> Iterator[Passage]:
    """Yield passages of the Jargon File; a long article gives several."""
    for number, (head, article) in enumerate(read_entries(folder, "jargon")):
        _, *paragraphs = re.split(r"\n\s*\n", re.sub(r"[{}]", "", _without_brackets(article.strip())))
        yield from _articles(f"jargon:{number}", head, paragraphs, "technology")


def element_passages(folder: Path) -> Iterator[Passage]:
    """Yield passages on the chemical elements."""
    for number, (head, article) in enumerate(read_entries(folder, "elements")):
        body = squeeze(re.sub(r"[{}]", "", article.partition("\n")[2]))
        yield from _articles(f"elements:{number}", head, [body], "substance")


def acronym_passages(folder: Path) -> Iterator[Passage]:
    """Yield a passage on each computing acronym of V.E.R.A. whose meanings together are long enough."""
    meanings: dict[str, list[str]] = {}
    for _, article in read_entries(folder, "vera"):
        head, _, body = article.partition("\n")
        meanings.setdefault(head.strip(), []).append(squeeze(body))
    for head, bodies in meanings.items():
        text = cut_to_length(f"{head} stands for {', or for '.join(bodies)}.")
        if head and text:
            yield Passage(f"vera:{head.replace(' ', '_')}", text, (head,), "acronym", bodies[0])


def _articles(passage_id: str, head: str, paragraphs: list[str], topic: str) -> Iterator[Passage]:
    """Yield an article's paragraphs as passages that name its headword; tables and drawings are left out."""
    for part, text in enumerate(in_passages(paragraphs)):
        letters = sum(character.isalpha() for character in text)
        if letters < 0.6 * len(text):  # a table or a drawing
            continue
        named_text = text if head.lower() in text[:80].lower() else f"{head}: {text}"
        title = cut_to_length(named_text) or named_text
        yield Passage(f"{passage_id}.{part}", title, (head,), topic if part == 0 else "part", text)


def _without_brackets(text: str) -> str:
    """Return the text without anything in square brackets, nested ones included."""
    while (shorter := _INNERMOST_BRACKETS.sub(" ", text)) != text:
        text = shorter
    return text


def _gcide_topic(title: str, sense: str) -> str:
    """Return the topic of a GCIDE article, such as `disease`, from its title line and first sense."""
    if not re.search(r"\bn\.", title):
        return "word"
    if _DISEASES.search(sense):
        return "disease"
    field = re.search(r"\(([A-Z][a-z]+)\.\)", sense)
    return _SCIENCES.get(field[1], "thing") if field else "thing"


def _number(digits: str) -> int:
    """Decode a number in dictd's base 64."""
    value = 0
    for digit in digits:
        value = value * 64 + _DIGITS[digit]
    return value
