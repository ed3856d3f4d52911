"""Fetch the sources, and write the dataset folder.

    python -m benchmarks.training_data.free_text --out FOLDER [--seed 1] [--share 1.0] [--cache FOLDER]

writes the BEIR layout: `corpus.jsonl`, `queries.jsonl` (each query names its passage and kind under
`metadata`), and `qrels/train.tsv` and `qrels/development.tsv`, which judge a query's own passage relevant.
All queries of one passage in a hundred are development queries. `SOURCES.md` names the sources, their
versions, licences and counts. The same packages and seed give the same files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.training_data.free_text.dictd import (
    acronym_passages,
    element_passages,
    foldoc_passages,
    gcide_passages,
    jargon_passages,
)
from benchmarks.training_data.free_text.packages import Apt
from benchmarks.training_data.free_text.passage import Passage, chance
from benchmarks.training_data.free_text.prose import description_passages, manual_passages, nation_passages
from benchmarks.training_data.free_text.queries import queries_for
from benchmarks.training_data.free_text.wordnet import wordnet_passages
from rerankers.errors import RerankbenchError
from rerankers.files.writing import atomic_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DEVELOPMENT_PERCENT = 1


@dataclass(frozen=True, slots=True)
class Source:
    """A source of text: its Debian package, its licence, and the most passages to keep."""

    package: str
    licence: str
    most: int


SOURCES = (
    Source("wordnet-base", "WordNet 3.0 licence (like BSD)", 48_000),
    Source("dict-gcide", "GPL-2+", 24_000),
    Source("dict-foldoc", "GFDL-1.1+", 10_000),
    Source("dict-jargon", "public domain", 3_000),
    Source("dict-elements", "public domain", 200),
    Source("dict-vera", "GFDL-1.1+", 600),
    Source("freeciv-data", "GPL-2+", 700),
    Source("harden-doc", "GPL-2+", 1_500),
    Source("anarchism", "GPL-2", 3_000),
)
DESCRIPTIONS = Source("(descriptions of all packages)", "each package's own, most GPL or BSD", 10_000)


def build(out: Path, apt: Apt, seed: int, share: float = 1.0) -> str:
    """Write the dataset folder from a share of every source, and return the text of `SOURCES.md`.

    Args:
        out: the folder to write.
        apt: fetches the packages.
        seed: seed of every draw.
        share: share of each source's passages to keep, from 0 to 1.
    """
    rows = []
    passages: list[Passage] = []
    for source in (*SOURCES, DESCRIPTIONS):
        if source is DESCRIPTIONS:
            version, passages_read = "of the day", list(description_passages(apt.descriptions()))
        else:
            package = apt.fetch(source.package)
            version, passages_read = package.version, list(_read(source.package, package.root, seed))
        order = sorted(passages_read, key=lambda passage: chance(seed, passage.passage_id).random())
        kept = sorted(
            order[: round(share * min(source.most, len(order)))], key=lambda passage: passage.passage_id
        )
        passages += kept
        rows.append((source.package, version, source.licence, len(passages_read), len(kept)))
    counts = write_dataset(out, passages, seed)
    table = _table(rows, counts, seed, share)
    replace_file(out / "SOURCES.md", table)
    return table


def _read(package: str, root: Path, seed: int) -> Iterable[Passage]:
    """Return the passages of a package that is unpacked below `root`."""
    documents = root / "usr" / "share" / "doc"
    match package:
        case "wordnet-base":
            return wordnet_passages(root, seed)
        case "dict-gcide":
            return gcide_passages(root)
        case "dict-foldoc":
            return foldoc_passages(root)
        case "dict-jargon":
            return jargon_passages(root)
        case "dict-elements":
            return element_passages(root)
        case "dict-vera":
            return acronym_passages(root)
        case "freeciv-data":
            return nation_passages(root)
        case "harden-doc":
            return manual_passages("harden-doc", documents / "harden-doc" / "html" / "en-US")
        case _:
            return manual_passages("anarchism", documents / "anarchism" / "html")


def write_dataset(out: Path, passages: list[Passage], seed: int) -> dict[str, int]:
    """Write corpus, queries and judgements in the BEIR layout; return the number of queries by split."""
    (out / "qrels").mkdir(parents=True, exist_ok=True)
    judged: dict[str, list[str]] = {"train": [], "development": []}
    seen: set[str] = set()
    with (
        atomic_file(out / "corpus.jsonl") as corpus,
        atomic_file(out / "queries.jsonl") as queries,
    ):
        for passage in passages:
            row = {"_id": passage.passage_id, "title": "", "text": passage.text}
            corpus.write(json.dumps(row, ensure_ascii=False) + "\n")
            for number, (text, kind) in enumerate(_new(queries_for(passage, seed), seen)):
                query_id = f"{passage.passage_id}/{number}"
                metadata = {"passage": passage.passage_id, "kind": kind}
                query = {"_id": query_id, "text": text, "metadata": metadata}
                queries.write(json.dumps(query, ensure_ascii=False) + "\n")
                judged[_split(passage, seed)].append(f"{query_id}\t{passage.passage_id}\t1\n")
    for split, lines in judged.items():
        content = "query-id\tcorpus-id\tscore\n" + "".join(lines)
        replace_file(out / "qrels" / f"{split}.tsv", content)
    return {split: len(lines) for split, lines in judged.items()}


def _new(queries: list[tuple[str, str]], seen: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the queries, (text, kind) pairs, that are not in `seen`, and add them to it."""
    for text, kind in queries:
        if text.lower() not in seen:
            seen.add(text.lower())
            yield text, kind


def _split(passage: Passage, seed: int) -> str:
    """Return the split of a passage's queries, `train` or `development`, by a hash of its id."""
    digest = hashlib.sha256(f"{seed}:{passage.passage_id}".encode()).digest()
    return "development" if int.from_bytes(digest[:4]) % 100 < _DEVELOPMENT_PERCENT else "train"


def _table(
    rows: list[tuple[str, str, str, int, int]], counts: dict[str, int], seed: int, share: float
) -> str:
    """Return the Markdown text of `SOURCES.md`.

    A row is (package, version, licence, number of passages read, number of passages kept).
    """
    lines = [
        "# Sources of this text",
        "",
        "Made from packages of Debian by "
        f"`python -m benchmarks.training_data.free_text --seed {seed} --share {share}`.",
        "",
        "| package | version | licence | passages found | passages kept |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {version} | {licence} | {passages} | {kept} |"
            for name, version, licence, passages, kept in rows
        ),
        "",
        f"Passages: {sum(row[4] for row in rows)}. Queries: {counts['train']} train, "
        f"{counts['development']} development.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Parse the command line, build the dataset and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_data.free_text", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--seed", type=int, default=1, help="of every draw (default 1)")
    parser.add_argument("--share", type=float, default=1.0, help="of every source (default 1: all of it)")
    parser.add_argument("--cache", type=Path, help="keep the fetched packages here, and use those found")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            print(build(options.out, Apt(options.cache or Path(scratch)), options.seed, options.share))
        except RerankbenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
