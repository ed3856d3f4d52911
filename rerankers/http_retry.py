"""What to do when an HTTP endpoint fails: wait and ask again, or stop before failures are paid for.

A failure that may pass (rate limit, overload, timeout, broken connection, half an answer) is waited out: for
as long as the endpoint asks with `Retry-After`, else exponentially longer each time. One that cannot pass (a
wrong key, model or request) ends the run at once, and the message says what to change.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from rerankers.errors import BackendError

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
LONGEST_ASKED_WAIT_SECONDS = 600.0

_PASSING_STATUS = frozenset({408, 409, 425, 429})  # beside every 5xx


class UnusableResponseError(Exception):
    """An endpoint reported success but sent something else than what was asked for."""


PASSING = (httpx.HTTPError, UnusableResponseError, ValueError, RecursionError)
"""What a call may raise; `ValueError` is JSON cut short, `RecursionError` JSON nested beyond measure."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What error messages say about an endpoint, and how often a call to it is tried again.

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
        """Seconds to wait after the latest of `failures` failures of one call.

        Raises:
            BackendError: asking again is useless, or was tried `retries` times.
        """
        why = reason(error).replace(os.environ.get(self.key) or "\0", f"${self.key}")
        if isinstance(error, httpx.HTTPStatusError):
            status = error.response.status_code
            if error_code(error) == "insufficient_quota":
                raise BackendError(f"{self.name} says the account is out of quota: {why}") from error
            if status < 500 and status not in _PASSING_STATUS:
                remedy = self._remedy(status)
                raise BackendError(f"{self.name} refuses with {why}; {remedy}") from error
        if failures > self.retries:
            has_answered = isinstance(error, httpx.HTTPStatusError)
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


def error_code(error: Exception) -> str | None:
    """The code by which an endpoint names what is wrong; None without one."""
    code = _said(error.response).get("code") if isinstance(error, httpx.HTTPStatusError) else None
    return code if isinstance(code, str) else None


def reason(error: Exception) -> str:
    """The first line of what the endpoint says, or of what broke the connection."""
    text = str(error)
    if isinstance(error, httpx.HTTPStatusError):
        said = _said(error.response).get("message") or error.response.text
        text = f"status {error.response.status_code}: {str(said).strip()}"
    return (text.strip().splitlines() or [type(error).__name__])[0][:300]


def _said(response: httpx.Response) -> dict[str, Any]:
    """The error object in an answer: `{"error": {...}}`, or the object itself."""
    try:
        decoded = response.json()
    except (ValueError, RecursionError):
        return {}
    inner = decoded.get("error", decoded) if isinstance(decoded, dict) else None
    return inner if isinstance(inner, dict) else {"message": inner}


def _asked_wait(error: Exception) -> float | None:
    """Seconds that `Retry-After` asks for, given in seconds or as a date; None without one."""
    if not isinstance(error, httpx.HTTPStatusError):
        return None
    value = error.response.headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        try:
            return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):  # no date either, or one without a time zone
            return None
