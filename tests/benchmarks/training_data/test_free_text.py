"""Free text: every format is read as it is on disk, and queries look as people type them."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.training_data.free_text.__main__ import main, write_dataset
from benchmarks.training_data.free_text.dictd import acronym_passages, foldoc_passages, gcide_passages
from benchmarks.training_data.free_text.passage import (
    LONGEST_WORDS,
    SHORTEST_WORDS,
    Passage,
    cut_to_length,
    in_passages,
)
from benchmarks.training_data.free_text.prose import description_passages, manual_passages, nation_passages
from benchmarks.training_data.free_text.queries import queries_for, templates
from benchmarks.training_data.free_text.wordnet import read_synsets, wordnet_passages

needs_apt = pytest.mark.skipif(
    not (shutil.which("dpkg-deb") and Path("/usr/lib/apt/apt-helper").exists()), reason="needs Debian's apt"
)

LONG = "Each of the services is kept apart from the others by walls that none of them can cross alone."
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
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.dict.dz").write_bytes(gzip.compress(data))
    (folder / f"{name}.index").write_text(index, encoding="utf-8")
    return folder


def wordnet(folder: Path, **more: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("noun", "verb", "adj", "adv"):
        (folder / f"data.{part}").write_text((WORDNET if part == "noun" else "") + more.get(part, ""))
    return folder


def test_a_synset_becomes_a_passage_that_says_what_it_is(tmp_path: Path) -> None:
    synset = read_synsets(wordnet(tmp_path))["n00000200"]
    assert synset.words == ("first strike", "opening blow")
    assert synset.examples == ("no first strike was planned",)
    [_, passage] = wordnet_passages(tmp_path, seed=1)
    assert "the initial use of weapons to attack a country that also has them" in passage.text
    assert passage.heads == ("first strike", "opening blow")


@pytest.mark.parametrize(
    ("part", "line", "topic"),
    [
        ("noun", f"00000300 18 n 01 Ada_Lovelace 0 001 @i 00000100 n 0000 | {LONG}", "biography"),
        ("noun", f"00000300 26 n 01 scurvy 0 000 | a disease. {LONG}", "disease"),
        ("noun", f"00000300 26 n 01 calm 0 000 | {LONG}", "state"),
        ("verb", f"00000300 29 v 01 wall 0 000 | {LONG}", "word"),
    ],
)
def test_a_synsets_kind_decides_how_it_is_asked_about(
    tmp_path: Path, part: str, line: str, topic: str
) -> None:
    [*_, passage] = wordnet_passages(wordnet(tmp_path, **{part: f"{line}  \n"}), seed=1)
    assert (passage.passage_id[-8:], passage.topic) == ("00000300", topic)


def test_a_synset_is_told_in_no_fewer_and_no_more_words_than_a_passage_has(tmp_path: Path) -> None:
    definition = "walls " * 70
    lines = (
        "00000300 04 n 01 nap 0 000 | a short sleep  \n"
        f'00000400 04 n 01 maze 0 000 | {definition}; "{LONG}"  \n'
    )
    [*_, last] = wordnet_passages(wordnet(tmp_path, noun=lines), seed=1)
    assert (last.heads, last.examples) == (("maze",), (LONG,))
    assert "services" not in last.text
    assert "n00000300" not in {p.passage_id[-9:] for p in wordnet_passages(tmp_path, seed=1)}


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


@pytest.mark.parametrize(
    ("kind", "field", "topic"),
    [
        ("n.", "(Med.)", "disease"),
        ("n.", "(Zool.)", "animal"),
        ("n.", "(Naut.)", "thing"),
        ("n.", "", "thing"),
        ("v. i.", "(Med.)", "word"),
    ],
)
def test_a_dictionarys_field_decides_how_its_word_is_asked_about(
    tmp_path: Path, kind: str, field: str, topic: str
) -> None:
    articles = {
        "wall": f"Wall \\Wall\\, {kind}\n   {field} {LONG}\n",
        "at": f"At \\At\\, {kind}\n   {LONG}\n",  # a word of two letters
        "wallless": f"Wallless, {kind}\n   {LONG}\n",  # a title that is none
        "walled": f"Walled \\Walled\\, {kind}\n   See Wall.\n",
    }
    [passage] = gcide_passages(dictionary(tmp_path, "gcide", articles))
    assert (passage.text, passage.topic) == (f"Wall: {LONG}", topic)


def test_the_meanings_of_an_acronym_are_one_passage(tmp_path: Path) -> None:
    articles = {
        "abc": f"ABC\n     {LONG[:-1]}\n",
        "abc1": "ABC\n     A Basic\n     Compiler\n",
        "x": "X\n  Y\n",
    }
    [passage] = acronym_passages(dictionary(tmp_path, "vera", articles))
    assert passage.text == f"ABC stands for {LONG[:-1]}, or for A Basic Compiler."


def test_a_table_is_no_passage(tmp_path: Path) -> None:
    article = f"Walls\n\n   {LONG * 5}\n\n   {'1.25 | ' * 79}\n"
    [passage] = foldoc_passages(dictionary(tmp_path, "foldoc", {"walls": article}))
    assert "|" not in passage.text


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
    stanzas += f"\nPackage: caves\nDescription-md5: 0\nDescription-en: none\n transitional {body}"
    [passage] = description_passages(stanzas)
    assert passage.passage_id == "debian:cavemap"
    assert passage.gloss == "cave maps"


def test_paragraphs_of_a_manual_stand_under_their_headings(tmp_path: Path) -> None:
    page = (
        f"<title>A manual</title><p>{LONG} Under no heading.</p><h2>5.10. Walls</h2>"
        f"<div class='para'>{LONG}</div><p>Each of the <b>services</b>{LONG[20:]} [12]</p>aside"
        "<h3>A.1 Doors</h3><p>Short.</p>"
    )
    (tmp_path / "page.html").write_text(page)
    (tmp_path / "links.html").write_text(page)
    [passage] = manual_passages("manual", tmp_path)
    assert passage.heads == ("Walls",)
    assert passage.text == f"{LONG} {LONG}"


def test_a_nations_history_is_found(tmp_path: Path) -> None:
    (tmp_path / "nation").mkdir()
    legend = (
        "A land of lakes where fishers built towns on stilts long\\\n before anybody came over the mountains."
    )
    text = f'name = _("?nation:Lake")\nplural = _("Lakes")\nlegend=_("{legend}")\n'
    (tmp_path / "nation" / "lake.ruleset").write_text(text)
    (tmp_path / "nation" / "sea.ruleset").write_text('name = _("Sea")\n')
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


def test_a_passage_ends_with_a_sentence_unless_its_first_is_too_long() -> None:
    assert cut_to_length(f"{LONG} " * 9) == " ".join([LONG] * (LONGEST_WORDS // len(LONG.split())))
    assert cut_to_length("word " * 100) == " ".join(["word"] * LONGEST_WORDS)


def mirror(folder: Path) -> Path:
    """Return a mirror with a package for each source; apt's configuration that names it alone."""
    page = f"<h2>Walls</h2><p>{LONG}</p>"
    for name, place in (("harden-doc", "harden-doc/html/en-US"), ("anarchism", "anarchism/html")):
        pages = folder / "roots" / name / "usr" / "share" / "doc" / place
        pages.mkdir(parents=True)
        (pages / "page.html").write_text(page)
    nations = folder / "roots" / "freeciv-data" / "nation"
    nations.mkdir(parents=True)
    (nations / "lake.ruleset").write_text(f'name = _("Lake")\nlegend=_("{LONG}")\n')
    wordnet(folder / "roots" / "wordnet-base")
    for name, article in (
        ("gcide", f"Wall \\Wall\\, n.\n   {LONG}\n"),
        ("foldoc", f"Wall\n\n   {LONG}\n"),
        ("jargon", f"Wall\n\n   {LONG}\n"),
        ("elements", f"Wall\n   {LONG}\n"),
        ("vera", f"WALL\n   {LONG}\n"),
    ):
        dictionary(folder / "roots" / f"dict-{name}" / "usr", name, {"wall": article})
    index = ""
    for root in sorted((folder / "roots").iterdir()):
        (root / "DEBIAN").mkdir()
        head = f"Package: {root.name}\nVersion: 1.0-1\nArchitecture: all\n"
        (root / "DEBIAN" / "control").write_text(f"{head}Maintainer: nobody\nDescription: none\n")
        archive = folder / f"{root.name}_1.0-1_all.deb"
        subprocess.run(["dpkg-deb", "--build", root, archive], check=True, capture_output=True)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        index += f"{head}Filename: {archive.name}\nSize: {archive.stat().st_size}\nSHA256: {digest}\n\n"
    description = f"Package: cavemap\nDescription-md5: 0\nDescription-en: cave maps\n {LONG}\n"
    suite = folder / "dists" / "stable"
    listed = ""
    for name, content in (
        ("main/binary-amd64/Packages", index),
        ("main/i18n/Translation-en", description),
    ):
        (suite / name).parent.mkdir(parents=True)
        (suite / name).write_text(content)
        listed += f" {hashlib.sha256(content.encode()).hexdigest()} {len(content.encode())} {name}\n"
    (suite / "Release").write_text(f"Components: main\nArchitectures: amd64\nSHA256:\n{listed}")
    (folder / "sources.list").write_text(f"deb [trusted=yes arch=amd64] file:{folder} stable main\n")
    (folder / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{folder}/sources.list";\nDir::Etc::SourceParts "-";\n'
        'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
        'APT::Architecture "amd64";\nAPT::Sandbox::User "root";\n'
    )
    return folder / "apt.conf"


@needs_apt
def test_the_command_builds_a_dataset_of_every_source_and_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("APT_CONFIG", str(mirror(tmp_path / "mirror")))
    for out in ("once", "again"):
        command = ["free_text", "--out", str(tmp_path / out), "--cache", str(tmp_path / "cache")]
        monkeypatch.setattr(sys, "argv", command)
        assert main() == 0
    once, again = (
        {path.name: path.read_bytes() for path in (tmp_path / out).rglob("*.*")} for out in ("once", "again")
    )
    assert once == again
    ids = [json.loads(line)["_id"] for line in once["corpus.jsonl"].splitlines()]
    assert {passage_id.partition(":")[0] for passage_id in ids} == (
        {"wordnet", "gcide", "foldoc", "jargon", "elements", "vera"}
        | {"freeciv", "harden-doc", "anarchism", "debian"}
    )
    assert "| dict-vera | 1.0-1 | GFDL-1.1+ | 1 | 1 |" in once["SOURCES.md"].decode()
    assert capsys.readouterr().out == f"{once['SOURCES.md'].decode()}\n" * 2


@needs_apt
@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("binary-amd64/Packages", "error: apt-get download wordnet-base failed: E: "),
        (
            "i18n/Translation-en",
            "error: apt fetched no English descriptions; check that its mirrors have them",
        ),
    ],
)
def test_what_apt_cannot_fetch_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lost: str,
    says: str,
) -> None:
    monkeypatch.setenv("APT_CONFIG", str(mirror(tmp_path)))
    suite = tmp_path / "dists" / "stable"
    (suite / "main" / lost).unlink()
    listed = (suite / "Release").read_text().splitlines(keepends=True)
    (suite / "Release").write_text("".join(line for line in listed if lost not in line))
    monkeypatch.setattr(sys, "argv", ["free_text", "--out", str(tmp_path / "out")])
    assert main() == 2
    assert capsys.readouterr().err.startswith(says)


def test_without_apt_the_command_says_where_it_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training_data.free_text", "--out", str(tmp_path / "out")],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    outcome = (done.returncode, done.stderr)
    assert outcome == (2, "error: there is no apt-get here; build the text on Debian or Ubuntu\n")
