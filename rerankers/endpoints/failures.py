"""The failures of endpoints, and whether a failed call may be billed all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from rerankers.endpoints.error_body import LONGEST_MESSAGE
from rerankers.errors import BackendError
from rerankers.text.redaction import excerpt

if TYPE_CHECKING:
    from rerankers.endpoints.error_body import ErrorBody
    from rerankers.endpoints.exchange import Exchange

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


def reason(error: Exception) -> str:
    """Return the endpoint's error message, or the cause of a broken connection: one line without secrets."""
    return excerpt(error, LONGEST_MESSAGE) or type(error).__name__


def may_be_billed(error: Exception) -> bool:
    """Return whether a call that failed may have been answered all the same, so that somebody may bill it."""
    if isinstance(error, StatusError):
        return error.status in _TIMED_OUT
    return not isinstance(error, (*_NEVER_SENT, BackendError))
