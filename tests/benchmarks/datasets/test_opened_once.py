"""Every reader opens its file once, so that pipes and compressed streams are read whole."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import itertools
import lzma
import os
import pickle
import tarfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.candidates.file import read_candidates
from benchmarks.datasets.readers import read_qrels, read_run
from benchmarks.datasets.sources import open_dataset
from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.results.exchange.imports import import_runs, pool_of
from benchmarks.results.store import read_results
from rerankers.errors import InputError
from rerankers.files.json_lines import read_json_lines, read_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUERIES = range(400)  # with their lines, several blocks of a pipe (64 KiB)
PADDING = "x" * 300

CONTENTS = {
    "lines": (lambda path: list(read_lines(path)), [f"{i} {PADDING}" for i in QUERIES]),
    "json": (lambda path: list(read_json_lines(path)), [f'{{"a": {i}, "b": "{PADDING}"}}' for i in QUERIES]),
    "qrels": (read_qrels, [f"q{i} 0 d{i}{PADDING} 1" for i in QUERIES]),
    "beir": (read_qrels, ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}{PADDING}\t1" for i in QUERIES)]),
    "run": (read_run, [f"q{i} Q0 d{i} 1 {i}.5 {PADDING}" for i in QUERIES]),
    "candidates": (
        read_candidates,
        [
            f'{{"query": {{"qid": "q{i}", "text": "a"}}, '
            f'"hits": [{{"docid": "d", "score": 1, "content": "{PADDING}"}}]}}'
            for i in QUERIES
        ],
    ),
}


@contextmanager
def fifo(path: Path, content: bytes) -> Iterator[Path]:
    """Give a FIFO from which the content can be read once; its first byte comes alone."""
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            file.write(content[:1])
            file.write(content[1:])

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    yield path
    writer.join(timeout=10)


def identity(content: bytes) -> bytes:
    return content


@pytest.mark.parametrize("compress", [identity, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("kind", CONTENTS)
def test_a_fifo_reads_like_the_file_plain_or_compressed(
    kind: str, compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    reader: Callable[[Path], Any] = CONTENTS[kind][0]
    content = "\n".join(CONTENTS[kind][1]).encode()
    (tmp_path / "file").write_bytes(content)
    expected = reader(tmp_path / "file")
    assert len(expected[0] if kind == "candidates" else expected) == len(CONTENTS[kind][1]) - (kind == "beir")
    (tmp_path / "compressed").write_bytes(compress(content))
    assert reader(tmp_path / "compressed") == expected
    with fifo(tmp_path / "pipe", compress(content)) as pipe:
        assert reader(pipe) == expected


def test_a_folder_of_fifos_is_a_dataset(tmp_path: Path) -> None:
    corpus = b"".join(b'{"_id": "d%d", "text": "%s"}\n' % (i, PADDING.encode()) for i in QUERIES)
    queries = b"".join(b'{"_id": "q%d", "text": "%s"}\n' % (i, PADDING.encode()) for i in QUERIES)
    (tmp_path / "qrels").mkdir()
    with (
        fifo(tmp_path / "corpus.jsonl", corpus),
        fifo(tmp_path / "queries.jsonl", queries),
        fifo(tmp_path / "qrels" / "test.tsv", b"\n".join(b"q%d 0 d%d 1" % (i, i) for i in QUERIES)),
    ):
        dataset = open_dataset(str(tmp_path))
        assert (len(dataset.queries), len(dataset.qrels), dataset.passage_count) == (400, 400, 400)


@pytest.mark.parametrize("compress", [identity, gzip.compress, bz2.compress, lzma.compress])
def test_the_digest_of_a_pipe_is_that_of_the_file(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    content = compress("\n".join(CONTENTS["run"][1]).encode())
    digest = hashlib.sha256()
    with fifo(tmp_path / "pipe", content) as pipe:
        read_run(pipe, digest)
    assert digest.hexdigest() == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_cut_compressed_file_is_named_with_its_line(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(compress(os.urandom(9999).hex().encode() + b"\n")[:-20])
    with pytest.raises(InputError, match=r"file:[12]: the compressed file is damaged"):
        list(read_lines(tmp_path / "file"))
    (tmp_path / "file").write_bytes(compress(b"a\n")[:6] + b"no such block" * 9)
    with pytest.raises(InputError, match=r"file:1: the compressed file is damaged"):
        list(read_lines(tmp_path / "file"))


def tar() -> bytes:
    """Return a tar archive with one file."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        entry = tarfile.TarInfo("run.trec")
        entry.size = 2
        archive.addfile(entry, io.BytesIO(b"a\n"))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x28\xb5\x2f\xfd rest", "this is a Zstandard file; decompress it"),
        (b"PAR1 rest", "this is a Parquet file; convert it"),
        (b"PK\x03\x04 rest", "this is a ZIP archive; unpack it"),
        (gzip.compress(b"PAR1 rest"), "this is a gzip file of a Parquet file"),
        (gzip.compress(gzip.compress(b"a\n")), "this is a gzip file of a gzip file"),
        (tar(), "this is a tar archive; unpack it"),
        (gzip.compress(tar()), "this is a gzip file of a tar archive; unpack it"),
        (bz2.compress(tar()), "this is a bzip2 file of a tar archive"),
        (pickle.dumps({"q": 1}), "this is a Python pickle, which can run code"),
        (b"\n<!DOCTYPE html><html>", "this is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "this is a Git LFS pointer .* git lfs pull"),
        ("q1 0 d1 1\n".encode("utf-16"), "this is UTF-16 text; convert it to UTF-8"),
    ],
    ids=itertools.count(),  # packed bytes tell the time at which they were made
)
@pytest.mark.parametrize("reader", [read_lines, read_json_lines, read_qrels, read_run, read_candidates])
def test_another_binary_format_is_named(
    reader: Callable[[Path], Any], content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match=says):
        list(reader(tmp_path / "file"))


def test_judgements_and_runs_from_pipes_are_imported_as_those_from_files(tmp_path: Path) -> None:
    judged = "\n".join(f"q{i} 0 d{i}{PADDING} 1" for i in QUERIES).encode()
    ranked = "\n".join(f"q{i} Q0 d{i}{PADDING} 1 2 t" for i in QUERIES).encode()
    for name, content in {"judged": judged, "first": ranked, "theirs": ranked}.items():
        (tmp_path / name).write_bytes(content)
    files = pool_of(tmp_path / "first", tmp_path / "judged", "d")
    (tmp_path / "first").unlink()
    (tmp_path / "theirs").unlink()
    with (
        fifo(tmp_path / "judged-pipe", gzip.compress(judged)) as judgements,
        fifo(tmp_path / "first", ranked) as first,
        fifo(tmp_path / "theirs", ranked) as theirs,
    ):
        pool = pool_of(first, judgements, "d")
        piped = import_runs(tmp_path / "piped", pool, {"theirs": theirs})
    assert pool.digest == files.digest
    assert len(pool.qrels) == 400
    cells = {cell.record.system.label: cell for cell in read_results(tmp_path / "piped").cells}
    assert cells["theirs"].record.system.described["imported"] == hashlib.sha256(ranked).hexdigest()
    assert [cell.record.cell for cell in cells.values()] == piped


def test_an_experiment_reads_pipes_and_says_that_their_content_is_not_compared(
    write_experiment: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment, config = load_experiment(write_experiment(queries=3))
    run(experiment, config, tmp_path / "plain")
    judged = (tmp_path / "qrels.txt").read_bytes()
    (tmp_path / "qrels.txt").unlink()
    capsys.readouterr()
    with fifo(tmp_path / "qrels.txt", gzip.compress(judged)):
        run(experiment, config, tmp_path / "piped")
    assert "qrels.txt: is a pipe, which can be read once only" in capsys.readouterr().err
    plain, piped = (read_results(tmp_path / name).cells[0].record.pool for name in ("plain", "piped"))
    assert plain == piped  # the digest of queries, candidates and judgements
