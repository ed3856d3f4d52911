"""The download of single dataset files that no package offers, checked against a digest."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from benchmarks.measuring.progress import say
from rerankers.errors import InputError
from rerankers.files.fingerprints import file_digest
from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS = 30.0
"""Longest wait for the next bytes."""
_MOST_BYTES = 256 << 20


def fetch_file(url: str, path: Path, sha256: str) -> None:
    """Download a file to `path`, unless it lies there already, and check its SHA-256.

    Args:
        url: where it comes from.
        path: where it goes; it appears there whole or not at all.
        sha256: digest that its content must have, in hex.

    Raises:
        InputError: it cannot be fetched, is too large, or its content has another digest.
    """
    if path.is_file():
        if file_digest(path) != sha256:
            raise InputError(f"{path}: its content has changed since it was fetched. Remove it")
        return
    say(f"{path.name}: fetched from {url}")
    content = _read(url, path)
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise InputError(f"{url}: sha256 is {actual}, expected {sha256}. It was not kept; do not trust it")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)


def _read(url: str, path: Path) -> bytes:
    """Download the content of a URL, at most 256 MB.

    Raises:
        InputError: it cannot be fetched, or is larger; the message names `path` as the place to put it by
            hand.
    """
    import httpx

    content = bytearray()
    try:
        with httpx.stream("GET", url, timeout=_SECONDS, follow_redirects=False) as response:
            response.raise_for_status()
            for block in response.iter_bytes():
                content += block
                if len(content) > _MOST_BYTES:
                    raise InputError(f"{url}: larger than {_MOST_BYTES >> 20} MB. It was not kept")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = " ".join(str(error).split()).partition(" For more information")[0] or type(error).__name__
        raise InputError(
            f"{url}: cannot be fetched ({reason}). Check the network, or put the file at {path}"
        ) from error
    return bytes(content)
