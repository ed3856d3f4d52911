"""Tiny copies of published datasets in the files that ir_datasets fetches, where it looks for them.

ir_datasets reads the place of its cache when it is imported, so that a test runs the command in a process of
its own with `IR_DATASETS_HOME`.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def _table(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def prepare_bright(
    home: Path,
    domain: str,
    passages: dict[str, str],
    queries: dict[str, str],
    relevant: dict[str, list[str]],
    excluded: dict[str, list[str]],
    rewritten: dict[str, str],
) -> None:
    """Write a domain of BRIGHT: documents, examples and the five rewritten queries, each in Parquet."""
    folder = home / "bright"
    _table(folder / f"{domain}.docs.parquet", [{"id": d, "content": text} for d, text in passages.items()])
    examples = [
        {
            "query": text,
            "reasoning": "",
            "id": query_id,
            "excluded_ids": excluded.get(query_id, ["N/A"]),
            "gold_ids_long": ["N/A"],
            "gold_ids": relevant[query_id],
            "gold_answer": "",
        }
        for query_id, text in queries.items()
    ]
    _table(folder / f"{domain}.queries.parquet", examples)
    sources = ("Gemini-1.0_reason", "claude-3-opus_reason", "gpt4_reason", "grit_reason", "llama3-70b_reason")
    for source in sources:
        rows = [{"id": query_id, "reasoning": text} for query_id, text in rewritten.items()]
        _table(folder / f"{domain}.{source}.queries.parquet", rows)


def prepare_nanobeir(
    home: Path, name: str, passages: dict[str, str], queries: dict[str, str], relevant: dict[str, list[str]]
) -> None:
    """Write a set of NanoBEIR: corpus, queries and judgements, each in Parquet."""
    folder = home / "nano-beir" / name
    _table(folder / "corpus.parquet", [{"_id": d, "text": text} for d, text in passages.items()])
    _table(folder / "queries.parquet", [{"_id": q, "text": text} for q, text in queries.items()])
    rows = [{"query-id": q, "corpus-id": d} for q, doc_ids in relevant.items() for d in doc_ids]
    _table(folder / "qrels.parquet", rows)


def prepare_dl21(
    home: Path,
    passages: list[str],
    queries: dict[str, str],
    grades: dict[str, dict[int, int]],
    ranked: dict[str, list[int]],
) -> dict[int, str]:
    """Write TREC DL 2021: MS MARCO v2's unpacked bundles, topics, judgements and the official top 100.

    Args:
        home: of ir_datasets.
        passages: texts; everything else refers to them by their places here.
        queries: text by query id.
        grades: of places, by query id.
        ranked: places, best first, by query id.

    Returns:
        doc id by place.
    """
    folder = home / "msmarco-passage-v2"
    bundle = folder / "msmarco_v2_passage.tar.extracted"
    bundle.mkdir(parents=True)
    doc_ids: dict[int, str] = {}
    content = b""
    for place, text in enumerate(passages):
        doc_ids[place] = f"msmarco_passage_00_{len(content)}"
        row = {"pid": doc_ids[place], "passage": text, "spans": "(0,1)", "docid": "msmarco_doc_00_0"}
        content += json.dumps(row).encode() + b"\n"
    (bundle / "msmarco_passage_00").write_bytes(content)
    (bundle / "_built").touch()
    track = folder / "trec-dl-2021"
    track.mkdir()
    (track / "queries.tsv").write_text("".join(f"{q}\t{text}\n" for q, text in queries.items()))
    judged = [
        f"{q} 0 {doc_ids[place]} {g}\n" for q, by_place in grades.items() for place, g in by_place.items()
    ]
    (track / "qrels").write_text("".join(judged))
    lines = [
        f"{q} Q0 {doc_ids[place]} {rank} {100 - rank} official\n"
        for q, places in ranked.items()
        for rank, place in enumerate(places, 1)
    ]
    (track / "top100.trec.gz").write_bytes(gzip.compress("".join(lines).encode()))
    return doc_ids
