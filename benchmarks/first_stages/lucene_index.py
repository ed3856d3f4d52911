"""The building of a Lucene index of a dataset's passages, by Anserini's own `IndexCollection`.

The passages are written as JSON lines, one file a thread, and Java reads the files by itself. Handing it one
object after the other takes three times as long, because each one crosses from Python to Java on its own.

An index is built in a scratch folder beside its place, and renamed once it is whole and holds every passage.
The scratch folder is locked while it is in use, so that the next process removes what a killed one has left.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from json.encoder import encode_basestring
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerankers.errors import InputError, StoreError
from rerankers.files.folder_lock import FolderLock
from rerankers.files.writing import atomic_file
from rerankers.progress import Activity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.datasets.dataset import Dataset

_SCRATCH = ".building-"
_FILES = 8  # a thread that is done with its file takes the next one
_WAIT_MILLISECONDS = 200
_LARGEST_BUFFER = 2048  # megabytes that Lucene fills before it writes a segment


def build_index(dataset: Dataset, index: Path, language: str | None = None) -> None:
    """Build the index of a dataset's passages as the folder `index`, which appears complete or not at all.

    Java has to be started. Where another process has built the same index meanwhile, its index stays.

    Args:
        dataset: the dataset whose passages are indexed.
        index: path of the folder to make.
        language: language of Anserini's analyzer, such as `de`; None for English.

    Raises:
        InputError: the dataset is broken, or Lucene could not index all of its passages.
        StoreError: the disk is full or refuses to write.
    """
    index.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(index.parent)
    with _scratch_folder(index.parent) as scratch:
        passages = scratch / "passages"
        count = _write_passages(dataset, passages)
        _index_files(passages, scratch / "index", count, dataset.name, language)
        shutil.rmtree(passages)
        try:
            (scratch / "index").rename(index)
        except OSError:
            if not index.is_dir():  # otherwise another process was faster
                raise


def _write_passages(dataset: Dataset, folder: Path) -> int:
    """Write passages to JSON lines files with `id` and `contents` in a new folder; return their number."""
    folder.mkdir()
    count = 0
    with ExitStack() as stack:
        files = [stack.enter_context(atomic_file(folder / f"{number}.jsonl")) for number in range(_FILES)]
        progress = stack.enter_context(
            Activity(f"reading the passages of {dataset.name}", dataset.passage_count or 0)
        )
        for block in _blocks(dataset.documents()):
            lines = (
                f'{{"id":{encode_basestring(doc_id)},"contents":{encode_basestring(text)}}}\n'
                for doc_id, text in block
            )
            files[count // _BLOCK % _FILES].write("".join(lines))
            count += len(block)
            progress.advance(len(block))
    return count


_BLOCK = 1000  # passages written at a time


def _blocks(documents: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Yield (doc id, text) pairs in lists of 1000; the last one may be shorter."""
    block: list[tuple[str, str]] = []
    for document in documents:
        block.append(document)
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block


def _index_files(passages: Path, index: Path, count: int, name: str, language: str | None) -> None:
    """Index the files of passages in a folder, with as many threads as there are processors.

    Args:
        passages: folder of the files.
        index: path of the index to make.
        count: number of passages in the files.
        name: name of the dataset, for messages.
        language: language of Anserini's analyzer; None for English.

    Raises:
        InputError: Lucene took fewer passages than `count`; passages without any word count as taken.
    """
    from jnius import autoclass, cast

    settings: Any = autoclass("io.anserini.index.IndexCollection$Args")()
    settings.collectionClass = "JsonCollection"
    settings.input, settings.index = str(passages), str(index)
    settings.threads = os.cpu_count() or 1
    settings.quiet = True
    heap = autoclass("java.lang.Runtime").getRuntime().maxMemory() >> 20
    settings.memoryBuffer = min(_LARGEST_BUFFER, max(64, heap // 4))
    if language is not None:
        settings.language = language
    indexer: Any = autoclass("io.anserini.index.IndexCollection")(settings)
    thread: Any = autoclass("java.lang.Thread")(cast("java.lang.Runnable", indexer))
    thread.setDaemon(True)
    counters = indexer.getCounters()
    thread.start()
    done = 0
    with Activity(f"indexing {name}", count) as progress:
        while thread.isAlive():
            thread.join(_WAIT_MILLISECONDS)
            progress.advance(counters.indexed.get() - done)
            done = counters.indexed.get()
    taken = sum(getattr(counters, kind).get() for kind in ("indexed", "empty"))
    if taken != count or not index.is_dir():
        raise InputError(
            f"{name}: Lucene indexed {taken} of {count} passages. Look for a Java error above, "
            "and give Java more memory if it ran out (JAVA_TOOL_OPTIONS=-Xmx4g)"
        )


@contextmanager
def _scratch_folder(parent: Path) -> Iterator[Path]:
    """Provide a locked scratch folder in `parent` within the block, and remove it after the block."""
    with tempfile.TemporaryDirectory(dir=parent, prefix=_SCRATCH) as scratch, FolderLock(Path(scratch)):
        yield Path(scratch)


def _remove_leftovers(parent: Path) -> None:
    """Remove the scratch folders in `parent` that killed processes have left; those that are locked stay."""
    for left in parent.glob(f"{_SCRATCH}*"):
        try:
            with FolderLock(left):
                pass
        except StoreError:
            continue
        shutil.rmtree(left, ignore_errors=True)
