"""Answers on disk, so that no answer is paid for twice and a table can be rebuilt without a key.

An answer is kept under a digest of its request: the endpoint's URL and the JSON body, never a header. Asking
the same question again in one process gives the next recorded answer to it, so repeated runs stay repeated
measurements. Times are kept with the answer: a replayed call takes as long as it took when it was recorded.
A process that goes on where another was killed starts counting anew, so what it asks again is replayed; the
usage of each ranking says how many of its calls were.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from rerankers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from rerankers.llm.chat import End
    from rerankers.stages import Stage

BY_ENDPOINT = "the endpoint"


@dataclass(slots=True)
class Exchange:
    """One call as it went: the answer, what the endpoint counted, and what the client measured."""

    text: str = ""
    end: End = "done"
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    reasoning_tokens: int = 0
    counted_by: str = BY_ENDPOINT
    served_model: str = ""
    fingerprint: str = ""
    stage_seconds: dict[Stage, float] = field(default_factory=dict)


def canonical(value: object) -> str:
    """JSON that does not depend on the order of keys; ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class Recording:
    """A SQLite file of exchanges.

    Raises:
        InputError: the file is no recording, or cannot be opened.
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
            self.close()
            raise InputError(f"{path}: cannot be used as a recording of answers: {error}") from error
        self._asked: Counter[str] = Counter()

    def next_key(self, url: str, body: str) -> tuple[str, int]:
        """The key of a request: its digest, and how often this process has asked it before.

        Args:
            url: where it goes, without credentials.
            body: its `canonical` JSON, without what only concerns accounting.
        """
        digest = hashlib.sha256(f"[{canonical(url)},{body}]".encode()).hexdigest()
        self._asked[digest] += 1
        return digest, self._asked[digest] - 1

    def find(self, key: tuple[str, int]) -> Exchange | None:
        """The recorded exchange, if there is one."""
        try:
            row = self._database.execute(
                "SELECT exchange FROM exchanges WHERE digest = ? AND occurrence = ?", key
            ).fetchone()
            return None if row is None else Exchange(**json.loads(row[0]))
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise InputError(f"{self._path}: holds what is no answer ({error}); record it anew") from error

    def add(self, key: tuple[str, int], exchange: Exchange) -> None:
        """Keep an exchange; it survives a kill of this process once this returns."""
        with self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO exchanges VALUES (?, ?, ?)", (*key, json.dumps(asdict(exchange)))
            )

    def close(self) -> None:
        """Close the file."""
        self._database.close()
