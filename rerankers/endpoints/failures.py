"""The exceptions of calls to endpoints, and whether a failed call may be billed all the same."""

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
    """An error for a response that reports success but does not hold what was asked for.

    Attributes:
        exchange: the tokens it counted, where they could be read: they will be on the bill.
    """

    def __init__(self, reason: str, exchange: Exchange | None = None) -> None:
        super().__init__(reason)
        self.exchange = exchange


class UnreadableResponseError(UnusableResponseError):
    """An error for a complete response in an unknown form, which asking again will not change."""


class OversizedResponseError(UnusableResponseError):
    """An error for a response that is larger than any that answers the request."""


class StatusError(Exception):
    """An error for a response whose HTTP status reports a failure.

    Attributes:
        status: the HTTP status.
        body: message and code.
        wait: the value of `Retry-After`; empty without one.
    """

    def __init__(self, status: int, body: ErrorBody, wait: str = "") -> None:
        super().__init__(f"status {status}: {body.message or 'without a word'}")
        self.status = status
        self.body = body
        self.wait = wait


PASSING = (httpx2.HTTPError, StatusError, UnusableResponseError, ValueError, RecursionError)
"""Exceptions after which a call may be repeated. `ValueError` is JSON cut short, `RecursionError` JSON nested
too deeply.
"""


def reason(error: Exception) -> str:
    """Return a failed call's exception as a message of one line without secrets."""
    return excerpt(error, LONGEST_MESSAGE) or type(error).__name__


def may_be_billed(error: Exception) -> bool:
    """Return whether a call that failed with this exception may have been processed, and so be billed."""
    if isinstance(error, StatusError):
        return error.status in _TIMED_OUT
    return not isinstance(error, (*_NEVER_SENT, BackendError))
