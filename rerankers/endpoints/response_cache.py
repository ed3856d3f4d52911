"""A cache of responses on disk, so that no call is paid for twice and a table can be rebuilt without a key.

A response is kept under a digest of its request: the endpoint's URL and the JSON body, never a header.
Sending the same request again in one process gives the next cached response to it, so repeated runs stay
repeated measurements. Times are kept with the response: a replayed call takes as long as it took when it was
made. A process that goes on where another was killed starts counting anew, so what it asks again is replayed;
the usage of each ranking says how many of its calls were.

Several processes may share a file: who asks first claims the request, the others wait for the response. A
claim ends with its process, however that ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from rerankers.endpoints.claims import Claims
from rerankers.endpoints.exchange import Exchange, canonical
from rerankers.errors import BackendError, InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_EXCHANGE = TypeAdapter(Exchange)
_POLL_SECONDS = 0.05


class Recording:
    """A response cache: a SQLite file of exchanges by request.

    Raises:
        InputError: the file is not a response cache, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._database = sqlite3.connect(path)
        except sqlite3.Error as error:
            raise InputError(f"{path}: cannot be used as a recording of answers: {error}") from error
        try:
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")  # no wait for the disk: survives a kill
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS exchanges"
                " (digest TEXT, occurrence INTEGER, exchange TEXT, PRIMARY KEY (digest, occurrence))"
            )
        except sqlite3.Error as error:
            self._database.close()
            raise InputError(f"{path}: cannot be used as a recording of answers: {error}") from error
        self._asked: Counter[str] = Counter()
        self._unwritten: dict[tuple[str, int], Exchange] = {}
        self._claims = Claims(path)

    def next_key(self, url: str, body: str) -> tuple[str, int]:
        """Return the cache key of a request: its digest, and how often this process has asked for it before.

        Args:
            url: where it goes, without credentials.
            body: its `canonical` JSON, without what only concerns accounting.
        """
        digest = hashlib.sha256(f"[{canonical(url)},{body}]".encode()).hexdigest()
        self._asked[digest] += 1
        return digest, self._asked[digest] - 1

    def find(self, key: tuple[str, int]) -> Exchange | None:
        """Return the cached exchange under a key, or None.

        Raises:
            InputError: the entry is not an exchange.
        """
        if key in self._unwritten:
            return self._unwritten[key]
        try:
            row = self._database.execute(
                "SELECT exchange FROM exchanges WHERE digest = ? AND occurrence = ?", key
            ).fetchone()
            return None if row is None else _EXCHANGE.validate_json(row[0], strict=True)
        except (sqlite3.Error, ValueError, TypeError) as error:
            line = " ".join(str(error).split())[:200]
            raise InputError(f"{self._path}: holds what is no answer ({line}); record it anew") from error

    @asynccontextmanager
    async def claim(self, key: tuple[str, int]) -> AsyncIterator[None]:
        """Hold the claim on a key within the block, so that no other process makes the same call.

        It waits while another process holds it, so the caller looks again whether a response is cached.

        Raises:
            BackendError: earlier responses cannot be written, so that the next one could be lost.
        """
        self._write_again()
        number = int(key[0][:15], 16) ^ key[1]
        while not self._claims.take(number):
            await asyncio.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            self._claims.release(number)

    def add(self, key: tuple[str, int], exchange: Exchange) -> None:
        """Store an exchange under its key; once written, it survives a kill of this process.

        Where the file cannot be written, the exchange is kept in memory, and the next `claim` tries again.
        """
        self._unwritten[key] = exchange
        try:
            self._write()
        except sqlite3.Error:
            return  # the answer is paid for and will be used; nothing more is asked before it is written

    def close(self) -> None:
        """Write what could not be written before, and close the file.

        Raises:
            BackendError: a response is lost, because the file still cannot be written.
        """
        try:
            self._write_again()
        finally:
            self._unwritten.clear()
            self._database.close()

    def _write_again(self) -> None:
        """Write what could not be written before; a `BackendError` if that fails again."""
        try:
            self._write()
        except sqlite3.Error as error:
            raise BackendError(
                f"{self._path}: {len(self._unwritten)} answers cannot be written ({error}); make room or "
                "check its permissions, then run again"
            ) from error

    def _write(self) -> None:
        """Write all exchanges that are in memory only; a `sqlite3.Error` if that fails."""
        if not self._unwritten:
            return
        rows = [(*key, json.dumps(asdict(exchange))) for key, exchange in self._unwritten.items()]
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO exchanges VALUES (?, ?, ?)", rows)
        self._unwritten.clear()
