"""Free text: every format is read as it is on disk, and queries look as people type them."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.training.free_text.__main__ import write_dataset
from benchmarks.training.free_text.dictd import foldoc_passages, gcide_passages
from benchmarks.training.free_text.passage import (
    LONGEST_WORDS,
    SHORTEST_WORDS,
    Passage,
    cut_to_length,
    in_passages,
)
from benchmarks.training.free_text.prose import description_passages, manual_passages, nation_passages
from benchmarks.training.free_text.queries import queries_for, templates
from benchmarks.training.free_text.wordnet import read_synsets, wordnet_passages

if TYPE_CHECKING:
    from pathlib import Path

BURN = Passage(
    "wordnet:n1",
    "A third-degree burn is a burn characterized by destruction of both epidermis and dermis, as after fire.",
    ("third-degree burn",),
    "disease",
    "burn characterized by destruction of both epidermis and dermis",
    relatives=("first-degree burn",),
    examples=("he was treated for a third-degree burn",),
)
# Two synsets as wndb(5WN) has them: the first is the hypernym of the second.
WORDNET = (
    "  1 This line stands for the licence.  \n"
    "00000100 04 n 01 attack 0 001 ~ 00000200 n 0000 | an offensive against an enemy that uses force  \n"
    "00000200 04 n 02 first_strike 0 opening_blow 1 001 @ 00000100 n 0000 | the initial use of weapons "
    'to attack a country that also has them; "no first strike was planned"  \n'
)


def dictionary(folder: Path, name: str, articles: dict[str, str]) -> Path:
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    def number(value: int) -> str:
        return (number(value // 64) if value >= 64 else "") + digits[value % 64]

    data, index = b"", ""
    for head, article in articles.items():
        body = article.encode()
        index += f"{head}\t{number(len(data))}\t{number(len(body))}\n"
        data += body
    (folder / f"{name}.dict.dz").write_bytes(gzip.compress(data))
    (folder / f"{name}.index").write_text(index, encoding="utf-8")
    return folder


def test_a_synset_becomes_a_passage_that_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(WORDNET)
    for part in ("verb", "adj", "adv"):
        (tmp_path / f"data.{part}").write_text("")
    synset = read_synsets(tmp_path)["n00000200"]
    assert synset.words == ("first strike", "opening blow")
    assert synset.examples == ("no first strike was planned",)
    [_, passage] = wordnet_passages(tmp_path, seed=1)
    assert "the initial use of weapons to attack a country that also has them" in passage.text
    assert passage.heads == ("first strike", "opening blow")


def test_marks_sources_and_etymologies_leave_a_dictionarys_article(tmp_path: Path) -> None:
    article = (
        "Fret \\Fret\\ (fr[e^]t), v. t. [imp. & p. p. {Fretted}; p. pr.\n"
        "   {Fretting}.] [OE. [root]. See {Eat}.]\n"
        "   1. To wear away, as by rubbing; to {eat away}; to gnaw, as a\n"
        "      moth does to a garment kept for years.\n      [1913 Webster]\n\n"
        "            Stands fretted. --Milton.\n   [1913 Webster]\n"
    )
    [passage] = gcide_passages(dictionary(tmp_path, "gcide", {"00-database-info": "none", "fret": article}))
    assert passage.text == (
        "Fret: To wear away, as by rubbing; to eat away; to gnaw, as a moth does to a garment kept for years."
    )
    assert passage.topic == "word"  # a verb


def test_a_long_article_gives_several_passages_that_name_their_subject(tmp_path: Path) -> None:
    body = "\n\n".join(
        "   " + "{Compiled} text is handed over to a linker in the usual order. " * 8 for _ in "ab"
    )
    article = f"Linker\nlink editor\n\n   <programming> {body}\n\n   (1997-07-23)\n"
    passages = list(foldoc_passages(dictionary(tmp_path, "foldoc", {"linker": article})))
    assert len(passages) > 1
    assert all("linker" in passage.text.lower() for passage in passages)
    assert not any(mark in passage.text for passage in passages for mark in "{}<>")


def test_a_package_is_described_once_and_its_parts_not_at_all() -> None:
    body = " A program that draws maps of caves from the notes that were taken\n under ground, with care.\n"
    stanzas = "\n".join(
        f"Package: {name}\nDescription-md5: 0\nDescription-en: cave maps\n{body}"
        for name in ("cavemap", "cavemap-dev", "libcavemap1", "cavemap")
    )
    [passage] = description_passages(stanzas)
    assert passage.passage_id == "debian:cavemap"
    assert passage.gloss == "cave maps"


def test_paragraphs_of_a_manual_stand_under_their_headings(tmp_path: Path) -> None:
    long = "Each of the services is kept apart from the others by walls that none of them can cross alone. "
    page = (
        f"<h2>5.10. Walls</h2><div class='para'>{long}</div><p>{long} [12]</p><h3>A.1 Doors</h3><p>Short.</p>"
    )
    (tmp_path / "page.html").write_text(page)
    [passage] = manual_passages("manual", tmp_path)
    assert passage.heads == ("Walls",)
    assert passage.text == f"{long}{long}".strip()


def test_a_nations_history_is_found(tmp_path: Path) -> None:
    (tmp_path / "nation").mkdir()
    legend = (
        "A land of lakes where fishers built towns on stilts long\\\n before anybody came over the mountains."
    )
    text = f'name = _("?nation:Lake")\nplural = _("Lakes")\nlegend=_("{legend}")\n'
    (tmp_path / "nation" / "lake.ruleset").write_text(text)
    [passage] = nation_passages(tmp_path)
    assert (passage.heads, passage.topic) == (("Lake",), "nation")


@given(
    st.lists(st.text(st.characters(categories=["L"]), min_size=1, max_size=6), max_size=200),
    st.integers(1, 30),
)
def test_passages_keep_to_their_length(words: list[str], stop: int) -> None:
    text = " ".join(word.title() + ("." if n % stop == 0 else "") for n, word in enumerate(words))
    for passage in in_passages([text]):
        assert SHORTEST_WORDS <= len(passage.split()) <= LONGEST_WORDS
    cut = cut_to_length(text)
    assert cut is None or (SHORTEST_WORDS <= len(cut.split()) <= LONGEST_WORDS and text.startswith(cut))


@pytest.mark.parametrize("seed", range(5))
def test_queries_are_short_different_and_the_same_for_a_seed(seed: int) -> None:
    queries = queries_for(BURN, seed)
    assert queries == queries_for(BURN, seed)
    texts = [text for text, _ in queries]
    assert len(set(texts)) == len(texts) == 3
    assert all(1 <= len(text.split()) <= 14 for text in texts)


def test_every_template_is_filled_by_what_a_passage_has() -> None:
    for topic, rows in templates().items():
        for row in rows:
            assert row.format(x="a", y="b", key="c", gloss="d"), (topic, row)


def test_a_dataset_folder_splits_by_passage_and_repeats_no_query(tmp_path: Path) -> None:
    passages = [
        Passage(f"t:{n}", f"{BURN.text} {n}", (f"burn {n}",), "disease", BURN.gloss) for n in range(300)
    ]
    counts = write_dataset(tmp_path, passages, seed=1)
    rows = [json.loads(line) for line in (tmp_path / "queries.jsonl").read_text().splitlines()]
    texts = [row["text"].lower() for row in rows]
    assert len(set(texts)) == len(texts) == sum(counts.values())
    split: dict[str, str] = {}
    for name in ("train", "development"):
        for line in (tmp_path / "qrels" / f"{name}.tsv").read_text().splitlines()[1:]:
            query_id, passage_id, grade = line.split("\t")
            assert (grade, query_id.rpartition("/")[0]) == ("1", passage_id)
            assert split.setdefault(passage_id, name) == name
    assert 0 < counts["development"] < 0.1 * counts["train"]
