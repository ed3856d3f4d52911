"""Embeds all texts of a training once before it, since the encoder is frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rerankers.encoders.store import EmbeddingStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from rerankers.encoders.encoder import Encoder, Kind

_CHUNK = 4096  # texts between two writes to the store


class TextRows:
    """A numbering of different texts in the order of their first appearance."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}

    def add(self, texts: Iterable[str]) -> npt.NDArray[np.int64]:
        """Return the number of each text; a new text gets the next number."""
        rows = self._rows
        return np.array([rows.setdefault(text, len(rows)) for text in texts], dtype=np.int64)

    @property
    def texts(self) -> list[str]:
        """All texts, in the order of their numbers."""
        return list(self._rows)


def embed(
    encoder: Encoder, texts: Sequence[str], kind: Kind, folder: Path, say: Callable[[str], None]
) -> npt.NDArray[np.float32]:
    """Return the vectors of texts, (len(texts), dimension), from the store in `folder` or added to it.

    Passages share their store with `pe-rank`'s precomputed embeddings.

    Args:
        encoder: makes the vectors.
        texts: queries or passages.
        kind: which of both.
        folder: of the embedding store.
        say: shows one line to a person.
    """
    about = encoder.describe() if kind == "passage" else {**encoder.describe(), "kind": kind}
    store = EmbeddingStore(folder, about, encoder.dimension)
    vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    for start in range(0, len(texts), _CHUNK):
        chunk = list(texts[start : start + _CHUNK])
        chunk_vectors, is_stored = store.get(chunk)
        missing = np.nonzero(~is_stored)[0]
        if len(missing):
            say(f"embedding {kind} {start + 1} to {start + len(chunk)} of {len(texts)}")
            chunk_vectors[missing] = encoder.encode([chunk[row] for row in missing], kind=kind).cpu().numpy()
            store.put([chunk[row] for row in missing], chunk_vectors[missing])
        vectors[start : start + len(chunk)] = chunk_vectors
    return vectors
