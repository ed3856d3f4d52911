from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rerankers.encoders.store import EmbeddingStore
from rerankers.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

META = {"model": "some/encoder", "revision": "abc", "pooling": "mean"}


def vectors_of(texts: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(n, 3) vectors that can be told from each other."""
    return np.array([[len(text), ord(text[0]), 1] for text in texts], dtype=np.float32)


def write_many(folder: Path, writer: int) -> None:
    store = EmbeddingStore(folder, META, 3)
    for number in range(40):
        texts = [f"{writer} writes {number}", f"everybody writes {number}"]
        store.put(texts, vectors_of(texts))


def test_what_was_put_is_found_and_nothing_else(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, META, 3)
    store.put(["b", "a", ""], np.eye(3, dtype=np.float32))
    vectors, is_stored = store.get(["a", "c", "", "a", "b"])
    assert is_stored.tolist() == [True, False, True, True, True]
    assert vectors.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_an_empty_store_finds_nothing(tmp_path: Path) -> None:
    assert not EmbeddingStore(tmp_path, META, 3).get(["a"])[1].any()
    assert EmbeddingStore(tmp_path, META, 3).get([])[0].shape == (0, 3)


def test_another_process_sees_it(tmp_path: Path) -> None:
    writer, reader = EmbeddingStore(tmp_path, META, 3), EmbeddingStore(tmp_path, META, 3)
    assert not reader.get(["a"])[1].any()
    writer.put(["a"], vectors_of(["a"]))
    assert reader.get(["a"])[1].all()


@pytest.mark.parametrize("change", [{"revision": "def"}, {"pooling": "cls"}, {"max_length": 128}])
def test_another_way_of_embedding_has_a_store_of_its_own(tmp_path: Path, change: dict[str, object]) -> None:
    EmbeddingStore(tmp_path, META, 3).put(["a"], vectors_of(["a"]))
    assert not EmbeddingStore(tmp_path, {**META, **change}, 3).get(["a"])[1].any()


def test_many_segments_become_one_and_lose_nothing(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, META, 3)
    texts = [f"passage {number}" for number in range(100)]
    for text in texts:
        store.put([text], vectors_of([text]))
    assert len(list(store.folder.glob("*.keys.npy"))) < 40
    vectors, is_stored = store.get(texts)
    assert is_stored.all()
    assert np.array_equal(vectors, vectors_of(texts))


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_many, args=(tmp_path, writer)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    texts = [f"{writer} writes {number}" for writer in (0, 1, 2, "everybody") for number in range(40)]
    vectors, is_stored = EmbeddingStore(tmp_path, META, 3).get(texts)
    assert is_stored.all()
    assert np.array_equal(vectors, vectors_of(texts))


def test_half_a_segment_is_no_segment(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, META, 3)
    store.put(["a"], vectors_of(["a"]))
    next(
        store.folder.glob("*.keys.npy")
    ).unlink()  # as a writer leaves it that is killed before the last rename
    assert not store.get(["a"])[1].any()


def test_a_damaged_segment_is_named(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, META, 3)
    store.put(["a"], vectors_of(["a"]))
    next(store.folder.glob("*.vectors.npy")).write_bytes(b"\x80\x04pickle")
    with pytest.raises(StoreError, match="damaged"):
        EmbeddingStore(tmp_path, META, 3).get(["a"])
