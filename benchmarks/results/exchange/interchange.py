"""Writes candidates and judgements for other programs: TREC, BEIR, and JSON lines of rank_llm and RankGPT."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.experiments.plan import slug
from benchmarks.results.exchange.trec import qrels_lines
from rerankers.errors import InputError
from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from benchmarks.candidates.frozen import Pool

Program = Literal["rank-llm", "rankgpt"]
Hit = tuple[str, float, str]
"""Doc id, score and text."""


def candidate_line(program: Program, query_id: str, query: str, hits: Iterable[Hit]) -> str:
    """Return one JSON line of a query and its hits, best first, in the layout that `program` reads.

    `benchmarks.candidates.file` reads both layouts.
    """
    if program == "rank-llm":
        candidates = [
            {"docid": doc_id, "score": score, "doc": {"text": text}} for doc_id, score, text in hits
        ]
        return _line({"query": {"text": query, "qid": query_id}, "candidates": candidates})
    ranked_hits = [
        {"content": text, "qid": query_id, "docid": doc_id, "rank": rank, "score": score}
        for rank, (doc_id, score, text) in enumerate(hits, 1)
    ]
    return _line({"query": query, "hits": ranked_hits})


def write_ranked(
    program: Program, pool: Pool, rankings: Mapping[str, Iterable[tuple[str, float]]], path: Path
) -> Path:
    """Write rankings with passage texts to `path`, one `candidate_line` per query, and return the path.

    Args:
        program: the layout.
        pool: the candidate set with queries and texts.
        rankings: (doc id, score) pairs, best first, by query id.
        path: the file to write.

    Raises:
        InputError: the candidate set was stored without its texts.
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
    """Write a candidate set as a BEIR folder: `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`.

    Only candidates are in the corpus. Return the folder.

    Raises:
        InputError: the candidate set was stored without its texts.
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


def qrels_file(pool: Pool) -> tuple[str, bytes] | None:
    """Return file name and content of a candidate set's judgements in TREC format; None without judgements.

    The name ends in a digest of the content, so that judgements that differ never share a file, and candidate
    sets with the same judgements do.

    Raises:
        InputError: an id has a space in it.
    """
    content = b"".join(qrels_lines(query_id, grades) for query_id, grades in pool.qrels.items())
    if not content:
        return None
    return f"{slug(pool.dataset)}-{hashlib.sha256(content).hexdigest()[:8]}.qrels", content


def _texts(pool: Pool) -> dict[str, str]:
    """Return the passage texts of a candidate set by doc id; raise InputError if they were not stored."""
    texts = {hit.doc_id: hit.text for hits in pool.candidates.values() for hit in hits}
    if texts and not any(texts.values()):
        raise InputError(f"pool {pool.digest} was stored without its texts (store_text), which this needs")
    return texts


def _line(value: dict[str, Any]) -> str:
    """Return a value as one line of JSON."""
    return json.dumps(value, ensure_ascii=False) + "\n"
