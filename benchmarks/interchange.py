"""Other programs' JSON and folders: what rank_llm, RankGPT, BEIR and MTEB read and write.

- `candidate_line` is a query with its hits, as rank_llm or RankGPT read it.
- `write_beir` makes a BEIR folder of a candidate pool.
- `convert_mteb` makes candidates and judgements of MTEB-style reranking data.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.candidates_file import query_text
from rerankers.errors import InputError, StoreError
from rerankers.files import replace_file
from rerankers.json_lines import Row, read_json_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from benchmarks.candidates import Pool

Program = Literal["rank-llm", "rankgpt"]
Hit = tuple[str, float, str]
"""Doc id, score and text."""


def candidate_line(program: Program, query_id: str, query: str, hits: Iterable[Hit]) -> str:
    """A query with its hits, best first, as a program reads it; `benchmarks.candidates_file` reads both."""
    if program == "rank-llm":
        candidates = [
            {"docid": doc_id, "score": score, "doc": {"text": text}} for doc_id, score, text in hits
        ]
        return _line({"query": {"text": query, "qid": query_id}, "candidates": candidates})
    listed = [
        {"content": text, "qid": query_id, "docid": doc_id, "rank": rank, "score": score}
        for rank, (doc_id, score, text) in enumerate(hits, 1)
    ]
    return _line({"query": query, "hits": listed})


def write_ranked(
    program: Program, pool: Pool, rankings: Mapping[str, Iterable[tuple[str, float]]], path: Path
) -> Path:
    """A cell's rankings with their texts, a `candidate_line` a query.

    Raises:
        InputError: the pool was stored without its texts.
    """
    texts = _texts(pool)
    lines = [
        candidate_line(
            program,
            query_id,
            pool.queries[query_id],
            ((doc_id, score, texts[doc_id]) for doc_id, score in rankings[query_id]),
        )
        for query_id in pool.queries
        if query_id in rankings
    ]
    replace_file(path, "".join(lines))
    return path


def write_beir(pool: Pool, folder: Path) -> Path:
    """A pool as `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`; only candidates are in the corpus.

    Raises:
        InputError: the pool was stored without its texts.
    """
    texts = _texts(pool)
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    corpus = (_line({"_id": doc_id, "title": "", "text": text}) for doc_id, text in texts.items())
    queries = (_line({"_id": query_id, "text": text}) for query_id, text in pool.queries.items())
    judged = (
        f"{query_id}\t{doc_id}\t{grade}\n"
        for query_id, grades in pool.qrels.items()
        for doc_id, grade in grades.items()
    )
    replace_file(folder / "corpus.jsonl", "".join(corpus))
    replace_file(folder / "queries.jsonl", "".join(queries))
    replace_file(folder / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\n" + "".join(judged))
    return folder


def convert_mteb(source: Path, folder: Path) -> tuple[int, int]:
    """MTEB-style reranking data as `candidates.jsonl` and `qrels.txt`.

    A line is `{"query": ..., "positive": [...], "negative": [...]}`. The data have no order: passages are put
    into that of a hash of query and text, so that no relevant one is first because it was written first.
    Equal texts are one passage; one that is both positive and negative for a query is refused.

    Returns:
        how many queries and passages there are.

    Raises:
        InputError: a line is wrong.
        StoreError: the files cannot be written.
    """
    lines: list[str] = []
    judged: list[str] = []
    seen: set[str] = set()
    for line, values in read_json_lines(source):
        row = Row(source, line, values)
        query_id, query = f"q{line}", query_text(row, "query")
        grades: dict[str, int] = {}
        for grade, key in ((1, "positive"), (0, "negative")):
            for text in _strings(row, key):
                if grades.setdefault(text, grade) != grade:
                    row.fail(f"a passage is both positive and negative: {text[:40]!r}; keep one of them")
        order = sorted(grades, key=lambda text: _hash(f"{query}\n{text}"))
        hits = [(f"p{_hash(text)}", float(len(order) - rank), text) for rank, text in enumerate(order)]
        lines.append(candidate_line("rank-llm", query_id, query, hits))
        judged += [f"{query_id} 0 p{_hash(text)} {grade}\n" for text, grade in grades.items()]
        seen |= grades.keys()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made ({error.strerror}); choose another --out") from error
    replace_file(folder / "candidates.jsonl", "".join(lines))
    replace_file(folder / "qrels.txt", "".join(judged))
    return len(lines), len(seen)


def _texts(pool: Pool) -> dict[str, str]:
    texts = {hit.doc_id: hit.text for hits in pool.candidates.values() for hit in hits}
    if texts and not any(texts.values()):
        raise InputError(f"pool {pool.digest} was stored without its texts (store_text), which this needs")
    return texts


def _strings(row: Row, key: str) -> list[str]:
    values = row.get(key)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        row.fail(f"{key!r} must be a list of texts")
    return values


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
