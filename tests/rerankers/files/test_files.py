"""The one writer of files, under processes that die, disks that fill up, and targets that are no files."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rerankers.errors import StoreError
from rerankers.files.writing import atomic_file, replace_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


pytestmark = pytest.mark.skipif(os.name != "posix", reason="devices and FIFOs of POSIX")


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "file", "é")
    finally:
        os.umask(before)
    assert (tmp_path / "file").read_bytes() == "é".encode()
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~0o027
    assert names(tmp_path) == ["file"]


def test_a_block_that_fails_leaves_the_old_content_and_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")

    def stop() -> None:
        with atomic_file(tmp_path / "file") as file:
            file.write("new")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stop()
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_full_disk_is_a_line_that_names_the_target_and_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("old")

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match=rf"^{tmp_path}/file: cannot write \(No space left.*make room"):
        replace_file(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("target", ["folder", "absent/file"])
def test_a_target_that_cannot_be_a_file_is_refused_by_its_name(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=rf"^{tmp_path}/{target}: cannot write"):
        replace_file(tmp_path / target, "new")
    assert names(tmp_path) == ["folder"]


def test_a_device_is_written_to_and_stays_a_device() -> None:
    replace_file(Path("/dev/null"), "gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(StoreError, match=r"^/dev/full: cannot write \(No space left on device\)"):
        replace_file(Path("/dev/full"), "too much")


def test_a_fifo_is_written_to_and_stays_a_fifo(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    replace_file(fifo, "content")
    reader.join()
    assert read == [b"content"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


@pytest.mark.parametrize("redirection", [">", ">>", "| cat >"])
def test_standard_output_by_its_path_goes_where_the_shell_sends_it(tmp_path: Path, redirection: str) -> None:
    (tmp_path / "out").write_text("before ")
    program = "from pathlib import Path\nfrom rerankers.files.writing import replace_file\n"
    program += "replace_file(Path('/dev/stdout'), 'content')"
    link = Path("/dev/stdout").readlink()
    command = f'"{sys.executable}" -c "$PROGRAM" {redirection} "$OUT"'
    environment = {**os.environ, "PROGRAM": program, "OUT": str(tmp_path / "out")}
    subprocess.run(["sh", "-c", command], check=True, env=environment)
    expected = "before content" if redirection == ">>" else "content"
    assert (tmp_path / "out").read_text() == expected
    assert Path("/dev/stdout").readlink() == link


def test_a_link_stays_and_its_target_gets_the_content(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "file")
    replace_file(tmp_path / "link", "content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "file").read_text() == "content"


def test_what_a_killed_writer_left_is_removed_by_the_next_one_and_what_a_living_one_writes_is_not(
    tmp_path: Path,
) -> None:
    def die() -> None:
        with atomic_file(tmp_path / "file") as file:
            file.write("half")
            file.flush()
            os._exit(9)

    process = multiprocessing.get_context("fork").Process(target=die)
    process.start()
    process.join()
    assert len(names(tmp_path)) == 1
    with atomic_file(tmp_path / "file") as living:
        living.write("last")
        replace_file(tmp_path / "file", "first")
        assert (tmp_path / "file").read_text() == "first"
    assert (tmp_path / "file").read_text() == "last"
    assert names(tmp_path) == ["file"]


def test_two_writers_of_one_target_never_tear_it(tmp_path: Path) -> None:
    contents = [letter * 200_000 for letter in "abcd"]

    def write(content: str) -> None:
        for _ in range(20):
            replace_file(tmp_path / "file", content)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        if (tmp_path / "file").exists():
            seen.add((tmp_path / "file").read_text())
    assert seen <= set(contents)
    assert names(tmp_path) == ["file"]
