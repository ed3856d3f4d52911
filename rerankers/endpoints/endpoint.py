"""One endpoint: its address and key, the limits of a call, and the wait before a failed call is repeated.

A failure that may pass (rate limit, overload, timeout, broken connection, half a response) is waited out: for
as long as the endpoint asks with `Retry-After`, else exponentially longer each time. One that cannot pass (a
wrong key, model or request) ends the run at once, and the message says what to change.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx2

from rerankers.endpoints.failures import (
    OversizedResponseError,
    StatusError,
    UnreadableResponseError,
    reason,
)
from rerankers.errors import BackendError, InputError
from rerankers.text.redaction import excerpt

if TYPE_CHECKING:
    from pathlib import Path

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
LONGEST_ASKED_WAIT_SECONDS = 600.0

_PASSING_STATUS = frozenset({408, 409, 425, 429})  # beside every 5xx


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The address of an endpoint, and the settings of calls to it.

    Attributes:
        url: where every call is posted.
        shown_url: the address without credentials: it is recorded, and a part of the response cache's keys.
        name: host and model, in error messages.
        settings: what to check where the endpoint does not know the path or the model.
        key_variable: the environment variable of the key.
        key: sent as a bearer token; None for servers without keys.
        timeout_seconds: longest wait for one response, from the first byte sent to the last one read.
        retries: attempts allowed after the first.
        concurrency: most queries, most calls and most connections open at once.
        recording: the file of the response cache.
        price_example: how the option `price` is written; None where calls cost nothing.
    """

    url: httpx2.URL
    shown_url: str
    name: str
    settings: str
    key_variable: str
    key: str | None = field(repr=False)
    timeout_seconds: float
    retries: int
    concurrency: int
    recording: Path | None
    price_example: str | None

    def wait_before_retry(self, error: Exception, failures: int) -> float:
        """Return the seconds to wait before a failed call is tried again.

        Args:
            error: why the latest attempt failed.
            failures: how many attempts of this call have failed in a row.

        Raises:
            BackendError: asking again is useless, or was tried `retries` times.
        """
        why = reason(error)
        if isinstance(error, OversizedResponseError):
            raise BackendError(f"{self.name} sent too much: {why}; check {self.settings}") from error
        if isinstance(error, UnreadableResponseError):
            raise BackendError(f"{self.name} answers in another form: {why}") from error
        if isinstance(error, StatusError):
            if error.body.code == "insufficient_quota":
                raise BackendError(f"{self.name} says the account is out of quota: {why}") from error
            if error.status < 500 and error.status not in _PASSING_STATUS:
                raise BackendError(f"{self.name} refuses with {why}; {self._remedy(error.status)}") from error
        if failures > self.retries:
            has_answered = isinstance(error, StatusError)
            remedy = "run again later" if has_answered else f"see whether it is up, and check {self.settings}"
            raise BackendError(f"{self.name} failed {failures} times in a row: {why}; {remedy}") from error
        requested = _requested_wait(error)
        if requested is None:
            doubled = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (failures - 1))
            return doubled * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, no secret
        if requested > LONGEST_ASKED_WAIT_SECONDS:
            raise BackendError(
                f"{self.name} asks to wait {requested:.0f} s: {why}; run again later"
            ) from error
        return requested

    def _remedy(self, status: int) -> str:
        """Return what the user can do about an HTTP error status, for the error message."""
        remedies = {
            401: f"set {self.key_variable} to a valid key",
            403: f"set {self.key_variable} to a key that may use this model",
            404: f"check {self.settings}",
        }
        return remedies.get(status, f"change the options it complains about, or check {self.settings}")


def _requested_wait(error: Exception) -> float | None:
    """Return the seconds that an error response's `Retry-After` (seconds or a date) asks for.

    None without one.
    """
    value = error.wait.strip() if isinstance(error, StatusError) else ""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        try:
            return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):  # not a date either, or one without a time zone
            return None


def address(option: str, written: str, path: str) -> httpx2.URL:
    """Return the URL of an API's path below the root that the user wrote.

    A query such as Azure's stays at its end.

    Args:
        option: name of the option, for the error message.
        written: the root, such as `http://localhost:8000/v1`.
        path: of the API, such as `/rerank`; not added again if the root ends with it.

    Raises:
        InputError: the root is not an http or https address.
    """
    try:
        url = httpx2.URL(written)
    except httpx2.InvalidURL as error:
        raise InputError(f"{option} {excerpt(written, 200)!r} is not a URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        root = excerpt(written, 200)
        raise InputError(f"{option} {root!r} has no scheme or host; write it as http://localhost:8000/v1")
    root = url.path.rstrip("/")
    whole = root if path and root.endswith(path) else root + path
    return url.copy_with(path=whole or "/", fragment=None)
