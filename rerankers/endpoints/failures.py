"""The handling of endpoint failures: wait and retry, or stop before failures are paid for.

A failure that may pass (rate limit, overload, timeout, broken connection, half a response) is waited out: for
as long as the endpoint asks with `Retry-After`, else exponentially longer each time. One that cannot pass (a
wrong key, model or request) ends the run at once, and the message says what to change.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx2

from rerankers.endpoints.error_body import LONGEST_MESSAGE
from rerankers.errors import BackendError
from rerankers.text.redaction import excerpt

if TYPE_CHECKING:
    from rerankers.endpoints.error_body import ErrorBody
    from rerankers.endpoints.response_cache import Exchange

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
LONGEST_ASKED_WAIT_SECONDS = 600.0

_PASSING_STATUS = frozenset({408, 409, 425, 429})  # beside every 5xx
_TIMED_OUT = frozenset({408, 504, 524})  # a gateway gave up waiting; what stands behind it may have worked on
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)


class UnusableResponseError(Exception):
    """An endpoint reported success but sent something else than what was asked for.

    Attributes:
        exchange: what it counted, where that could be read: it will be on the bill.
    """

    def __init__(self, reason: str, exchange: Exchange | None = None) -> None:
        super().__init__(reason)
        self.exchange = exchange


class UnreadableResponseError(UnusableResponseError):
    """A whole response has another form than was asked for, which asking again will not change."""


class OversizedResponseError(UnusableResponseError):
    """A response is larger than any that answers the request."""


class StatusError(Exception):
    """An endpoint reported a failure.

    Attributes:
        status: the HTTP status.
        body: what it said.
        wait: the value of `Retry-After`.
    """

    def __init__(self, status: int, body: ErrorBody, wait: str = "") -> None:
        super().__init__(f"status {status}: {body.message or 'without a word'}")
        self.status = status
        self.body = body
        self.wait = wait


PASSING = (httpx2.HTTPError, StatusError, UnusableResponseError, ValueError, RecursionError)
"""The exceptions of a call; `ValueError` is JSON cut short, `RecursionError` JSON nested too deeply."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The texts of error messages about an endpoint, and its number of retries.

    Attributes:
        name: host and model.
        key: the environment variable of its key.
        settings: what to check where the endpoint does not know the path or the model.
        retries: attempts allowed after the first.
    """

    name: str
    key: str
    settings: str
    retries: int

    def wait_before_retry(self, error: Exception, failures: int) -> float:
        """Return the seconds to wait after the latest of `failures` failures of one call.

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
        asked = _asked_wait(error)
        if asked is None:
            doubled = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (failures - 1))
            return doubled * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, no secret
        if asked > LONGEST_ASKED_WAIT_SECONDS:
            raise BackendError(f"{self.name} asks to wait {asked:.0f} s: {why}; run again later") from error
        return asked

    def _remedy(self, status: int) -> str:
        remedies = {
            401: f"set {self.key} to a valid key",
            403: f"set {self.key} to a key that may use this model",
            404: f"check {self.settings}",
        }
        return remedies.get(status, f"change the options it complains about, or check {self.settings}")


def reason(error: Exception) -> str:
    """Return the endpoint's error message, or the cause of a broken connection: one line without secrets."""
    return excerpt(error, LONGEST_MESSAGE) or type(error).__name__


def may_be_billed(error: Exception) -> bool:
    """Return whether a call that failed may have been answered all the same, so that somebody may bill it."""
    if isinstance(error, StatusError):
        return error.status in _TIMED_OUT
    return not isinstance(error, (*_NEVER_SENT, BackendError))


def _asked_wait(error: Exception) -> float | None:
    """Return the seconds that `Retry-After` asks for, in seconds or as a date; None without one."""
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
