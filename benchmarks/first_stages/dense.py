"""Dense retrieval: an encoder embeds the whole collection once, and an exact search compares every passage.

The embeddings are cached on disk and held on the encoder's device while searching, 4 bytes a dimension.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from rerankers.encoders.passages import PassageEmbedder
from rerankers.encoders.store import EmbeddingStore
from rerankers.files.writing import atomic_file, replace_file
from rerankers.interface import Usage
from rerankers.models.devices import synchroniser
from rerankers.models.locate import cache_folder
from rerankers.progress import Activity
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from benchmarks.datasets.dataset import Dataset
    from rerankers.encoders.encoder import Encoder

_ENCODE_BLOCK = 1024  # passages encoded between two writes to disk
_SEARCH_BLOCK = 1 << 20  # passages scored between two selections of the best
_PRODUCTS = 1 << 26  # products of queries and passages held at once, where queries are searched together
_MOST_SHARED = 1 << 20  # passages; a larger collection would lie on disk twice


def search(
    encoder: Encoder, dataset: Dataset, queries: dict[str, str], depth: int
) -> tuple[dict[str, list[tuple[str, float]]], dict[str, float]]:
    """Encode and search for each query, one at a time, and time both together.

    Equal scores keep the collection's order.

    Args:
        encoder: embeds queries and passages.
        dataset: the dataset whose passages are searched.
        queries: text by query id.
        depth: most hits of a query.

    Returns:
        (doc id, score), best first, by query id; and seconds by query id.
    """
    doc_ids, passages = _passages_of(encoder, dataset)
    clock = StageClock(synchronise=synchroniser(str(encoder.device)))
    hits: dict[str, list[tuple[str, float]]] = {}
    seconds: dict[str, float] = {}
    for query in list(queries.values())[:1]:
        best(
            encoder.encode([query], kind="query")[0], passages, depth
        )  # loads kernels; not the query's fault
    with Activity("searching the embeddings", len(queries), unit="query", is_timed=True) as progress:
        for query_id, query in queries.items():
            started = clock.now()
            vector = encoder.encode([query], kind="query")[0]  # (dimension,)
            best_hits = best(vector, passages, depth)
            hits[query_id] = [(doc_ids[row], score) for row, score in best_hits]
            seconds[query_id] = clock.now() - started
            progress.advance()
    return hits, seconds


def search_at_once(
    encoder: Encoder, dataset: Dataset, queries: dict[str, str], depth: int
) -> dict[str, list[tuple[str, float]]]:
    """Search for many queries at a time, untimed: (doc id, score), best first, by query id.

    As many queries are scored together as fit into memory. Equal scores come in any order.

    Args:
        encoder: embeds queries and passages.
        dataset: the dataset whose passages are searched.
        queries: text by query id.
        depth: most hits of a query.
    """
    doc_ids, passages = _passages_of(encoder, dataset)
    together = max(1, _PRODUCTS // max(1, len(passages)))
    hits: dict[str, list[tuple[str, float]]] = {}
    ids = list(queries)
    for start in range(0, len(ids), together):
        some = ids[start : start + together]
        vectors = encoder.encode([queries[query_id] for query_id in some], kind="query")  # (q, dimension)
        best_passages = (vectors @ passages.T).topk(min(depth, len(passages)), dim=1)  # (q, depth)
        for query_id, rows, scores in zip(
            some, best_passages.indices.tolist(), best_passages.values.tolist(), strict=True
        ):
            hits[query_id] = [(doc_ids[row], score) for row, score in zip(rows, scores, strict=True)]
    return hits


def _passages_of(encoder: Encoder, dataset: Dataset) -> tuple[list[str], torch.Tensor]:
    """Return the doc ids of a dataset and their embeddings on the encoder's device, (n_passages, dimension).

    A passage without tokens has a vector of zeros, which compares with nothing: it is left out, and so never
    retrieved.
    """
    folder = _embeddings_of(encoder, dataset)
    doc_ids: list[str] = json.loads((folder / "doc_ids.json").read_text(encoding="utf-8"))
    mapped = np.memmap(folder / "embeddings.f32", np.float32, "c", shape=(len(doc_ids), encoder.dimension))
    passages = torch.from_numpy(mapped)
    blocks = range(0, len(doc_ids), _SEARCH_BLOCK)
    has_tokens = torch.cat([passages[start : start + _SEARCH_BLOCK].any(dim=1) for start in blocks])
    if not has_tokens.all():
        doc_ids = [doc_id for doc_id, has in zip(doc_ids, has_tokens.tolist(), strict=True) if has]
        passages = passages[has_tokens]
    return doc_ids, passages.to(encoder.device)


def best(
    vector: torch.Tensor, passages: torch.Tensor, depth: int, block: int = _SEARCH_BLOCK
) -> list[tuple[int, float]]:
    """Return (row, inner product) of the passages with the largest inner products, best first.

    Equal products keep the order of the rows.

    Args:
        vector: the query, (dimension,).
        passages: (n_passages, dimension).
        depth: most rows to return.
        block: rows scored at once.
    """
    rows = torch.empty(0, dtype=torch.long, device=passages.device)
    scores = torch.empty(0, dtype=passages.dtype, device=passages.device)
    for start in range(0, len(passages), block):
        products = passages[start : start + block] @ vector  # (<= block,)
        order = torch.sort(torch.cat([scores, products]), descending=True, stable=True)
        kept = order.indices[:depth]
        new = torch.arange(start, start + len(products), device=passages.device)
        rows, scores = torch.cat([rows, new])[kept], order.values[:depth]
    return list(zip(rows.tolist(), scores.tolist(), strict=True))


def _embeddings_of(encoder: Encoder, dataset: Dataset) -> Path:
    """Return the cache folder with the collection's embeddings, computed first if they are missing.

    It appears in the cache complete or not at all. It holds `embeddings.f32`, rows of float32, and
    `doc_ids.json`.
    """
    described = json.dumps(encoder.describe(), sort_keys=True)
    key = hashlib.sha256(described.encode()).hexdigest()[:16]
    folder = cache_folder() / "indexes" / dataset.fingerprint / f"dense-{key}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        new = Path(scratch) / "embeddings"
        new.mkdir()
        doc_ids: list[str] = []
        texts: list[str] = []
        what = f"embedding {dataset.name}"
        with (
            Activity(what, dataset.passage_count or 0) as progress,
            atomic_file(new / "embeddings.f32") as file,
        ):
            embedder = PassageEmbedder(encoder, _shared_store(encoder, dataset))
            for doc_id, text in dataset.documents():
                doc_ids.append(doc_id)
                texts.append(text)
                if len(texts) == _ENCODE_BLOCK:
                    file.write(_vectors(embedder, texts))
                    progress.advance(len(texts))
                    texts = []
            file.write(_vectors(embedder, texts))
            progress.advance(len(texts))
        replace_file(new / "doc_ids.json", json.dumps(doc_ids))
        replace_file(new / "encoder.json", described)
        try:
            new.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    return folder


def _shared_store(encoder: Encoder, dataset: Dataset) -> EmbeddingStore | None:
    """Return the store in which rerankers keep embeddings, so that a passage is embedded once for both.

    Return None for a collection that is too large, or of unknown size.
    """
    if dataset.passage_count is None or dataset.passage_count > _MOST_SHARED:
        return None
    return EmbeddingStore(cache_folder() / "embeddings", encoder.describe(), encoder.dimension)


def _vectors(embedder: PassageEmbedder, texts: list[str]) -> bytes:
    """Embed texts, equal ones once, and return their rows of float32 as bytes, in the order of the texts."""
    row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    different = list(row_of)
    vectors = embedder.vectors(different, [Usage()] * len(different))
    return vectors[[row_of[text] for text in texts]].cpu().numpy().tobytes()
