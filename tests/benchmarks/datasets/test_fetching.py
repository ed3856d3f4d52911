"""Files of datasets are fetched once, whole, and only if they are what their digest names."""

from __future__ import annotations

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from benchmarks.datasets.fetching import fetch_file
from benchmarks.experiments.suites import find_suite
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = b'{"query": "who"}\n'
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Serve a folder with one file."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "data.json").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_fetched_once_and_checked(address: str, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "data.json"
    fetch_file(f"{address}data.json", path, SHA256)
    assert path.read_bytes() == CONTENT
    (tmp_path / "served" / "data.json").unlink()
    fetch_file(f"{address}data.json", path, SHA256)
    path.write_bytes(b"changed")
    with pytest.raises(InputError, match="has changed since it was fetched"):
        fetch_file(f"{address}data.json", path, SHA256)


def test_another_or_a_missing_file_is_not_kept(address: str, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "data.json"
    with pytest.raises(InputError, match=f"sha256 is {SHA256}, expected {'0' * 64}"):
        fetch_file(f"{address}data.json", path, "0" * 64)
    with pytest.raises(InputError, match=r"cannot be fetched \(.*404 File not found.* or put the file at"):
        fetch_file(f"{address}other.json", path, SHA256)
    assert not path.exists()


def test_novel_eval_names_its_files_and_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path))
    page, _ = find_suite("noveleval")
    member = page.member(0, {})
    assert member.candidates == str(tmp_path / "suites" / "noveleval" / "data.json")
    assert member.qrels == str(tmp_path / "suites" / "noveleval" / "qrels.txt")
    assert page.download is not None
    assert set(page.download.sha256) == {"data.json", "qrels.txt"}
