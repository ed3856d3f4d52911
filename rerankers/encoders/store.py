"""Passage embeddings kept on disk, so that a passage is embedded only once.

A store is a folder for one way of embedding (model, revision, pooling, prefix, length, dtype). It holds
segments, each written once and never changed:

    meta.json              the description of the vectors; another way of embedding is refused
    <name>.keys.npy        (n, 2) uint64: the first 16 bytes of the sha256 of each text, sorted
    <name>.vectors.npy     (n, dimension) float32, in the same order

Both are plain arrays, mapped into memory and read without pickle. A writer writes under a name of its own and
renames the keys last, so a reader sees a segment whole or not at all, and any number of writers may work at
once: at worst a text is stored twice. Many small segments are merged into one by the process with the lock.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rerankers.errors import StoreError
from rerankers.files.locks import lock
from rerankers.files.writing import atomic_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

_KEYS, _VECTORS = ".keys.npy", ".vectors.npy"
_MOST_SEGMENTS = 32


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment of the store: sorted keys, (n, 2), and a vector for each, (n, dimension)."""

    keys: npt.NDArray[np.uint64]  # (n, 2), sorted
    vectors: npt.NDArray[np.float32]  # (n, dimension)


class EmbeddingStore:
    """A folder of vectors by text, for one way of embedding.

    Args:
        folder: parent of the stores; this one gets a folder of its own, named by the digest of `meta`.
        meta: everything a vector depends on besides its text; JSON values.
        dimension: length of a vector.

    Attributes:
        meta: the same.

    Raises:
        StoreError: the folder holds other embeddings.
    """

    def __init__(self, folder: Path, meta: Mapping[str, object], dimension: int) -> None:
        stated = json.dumps({**meta, "dimension": dimension}, sort_keys=True, ensure_ascii=False)
        self.meta, self.dimension = dict(meta), dimension
        self.folder = folder / hashlib.sha256(stated.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._segments: dict[str, _Segment] = {}
        about = self.folder / "meta.json"
        if not about.exists():
            replace_file(about, stated)
        if about.read_text(encoding="utf-8") != stated:
            raise StoreError(f"{about}: describes other embeddings; remove this folder")

    def get(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return the stored vectors of texts, and whether each text is stored.

        Returns:
            vectors, (len(texts), dimension), zeros for texts that are not stored;
            and a boolean for each text.
        """
        keys = _digests(texts)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        is_stored = np.zeros(len(texts), dtype=bool)
        for segment in self._refresh().values():
            open_rows = np.nonzero(~is_stored)[0]
            if not len(open_rows):
                break
            where, hit = _search(segment.keys, keys[open_rows])
            vectors[open_rows[hit]] = segment.vectors[where[hit]]
            is_stored[open_rows[hit]] = True
        return vectors, is_stored

    def put(self, texts: Sequence[str], vectors: npt.NDArray[np.float32]) -> None:
        """Store a vector for each text, as a new segment.

        Args:
            texts: the texts.
            vectors: (len(texts), dimension).
        """
        if not len(texts):
            return
        self._write(_digests(texts), np.asarray(vectors, dtype=np.float32))
        if len(list(self.folder.glob(f"*{_KEYS}"))) > _MOST_SEGMENTS:
            self._merge()

    def __len__(self) -> int:
        """Return the number of vectors; a text that two writers stored at once counts twice."""
        return sum(len(segment.keys) for segment in self._refresh().values())

    def _write(self, keys: npt.NDArray[np.uint64], vectors: npt.NDArray[np.float32]) -> None:
        """Write a segment of keys, (n, 2), and their vectors, (n, dimension), sorted by key."""
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        name = uuid.uuid4().hex
        _save(self.folder / f"{name}{_VECTORS}", vectors[order])
        _save(self.folder / f"{name}{_KEYS}", keys[order])

    def _refresh(self) -> Mapping[str, _Segment]:
        """Return all segments by name: new ones are opened, and those merged away are dropped."""
        held = self._segments  # never changed in place: other threads may be reading
        while True:
            names = sorted(path.name.removesuffix(_KEYS) for path in self.folder.glob(f"*{_KEYS}"))
            try:
                self._segments = {name: held.get(name) or self._open(name) for name in names}
            except FileNotFoundError:
                continue  # merged away between the listing and the opening
            return self._segments

    def _open(self, name: str) -> _Segment:
        """Return the segment of this name, its arrays mapped into memory.

        Raises:
            StoreError: its files are damaged or of the wrong shape.
        """
        try:
            keys = np.load(self.folder / f"{name}{_KEYS}", mmap_mode="r", allow_pickle=False)
            vectors = np.load(self.folder / f"{name}{_VECTORS}", mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise StoreError(f"{self.folder}: segment {name} is damaged; remove its two files") from error
        if keys.shape != (len(vectors), 2) or vectors.shape[1:] != (self.dimension,):
            raise StoreError(f"{self.folder}: segment {name} has the wrong shape; remove its two files")
        return _Segment(keys, vectors)

    def _merge(self) -> None:
        """Merge all segments into one, unless another process is merging them."""
        with (self.folder / "merge.lock").open("w") as file:
            if not lock(file.fileno()):
                return
            old = self._refresh()
            keys = np.concatenate([segment.keys for segment in old.values()])
            vectors = np.concatenate([segment.vectors for segment in old.values()])
            _, first = np.unique(keys, axis=0, return_index=True)
            self._write(keys[first], vectors[first])
            for name in old:
                (self.folder / f"{name}{_KEYS}").unlink(missing_ok=True)
                (self.folder / f"{name}{_VECTORS}").unlink(missing_ok=True)


def _digests(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return the key of each text, (len(texts), 2): the first 16 bytes of its sha256."""
    raw = b"".join(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16] for text in texts)
    return np.frombuffer(raw, dtype=">u8").reshape(-1, 2).astype(np.uint64)


def _search(
    held: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return the row of each wanted key among the held keys, and whether it is there.

    Args:
        held: keys, (n, 2), sorted by their first half.
        wanted: keys, (m, 2).
    """
    where = np.searchsorted(held[:, 0], wanted[:, 0])
    hit = np.zeros(len(wanted), dtype=bool)
    while True:  # keys that share their first half lie side by side; in practice there are none
        inside = np.minimum(where, len(held) - 1)
        candidate = ~hit & (where < len(held)) & (held[inside, 0] == wanted[:, 0])
        now = candidate & (held[inside, 1] == wanted[:, 1])
        hit |= now
        candidate &= ~now
        if not candidate.any():
            return np.minimum(where, len(held) - 1), hit
        where = where + candidate


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array to a `.npy` file, atomically."""
    with atomic_file(path) as file:
        np.save(file, array, allow_pickle=False)
