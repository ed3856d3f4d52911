"""What to do when an endpoint fails: wait and ask again, or stop before failures are paid for.

A failure that may pass (rate limit, overload, timeout, broken connection, half an answer) is waited out: for
as long as the endpoint asks with `Retry-After`, else exponentially longer each time. One that cannot pass (a
wrong key, model or request) ends the run at once, and the message says what to change.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import openai

from rerankers.errors import BackendError

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
LONGEST_ASKED_WAIT_SECONDS = 600.0

_PASSING_STATUS = frozenset({408, 409, 425, 429})  # beside every 5xx
_REMEDIES = {
    401: "set OPENAI_API_KEY to a valid key",
    403: "use a key that may use this model",
    404: "check the model's name and base_url (it usually ends in /v1)",
}


class UnusableAnswerError(Exception):
    """An endpoint reported success but sent no chat completion."""


PASSING = (openai.APIError, UnusableAnswerError, ValueError)
"""What a call may raise; `ValueError` is JSON cut short."""


def wait_before_retry(error: Exception, failures: int, retries: int, endpoint: str) -> float:
    """Seconds to wait after the latest of `failures` failures of one call.

    Raises:
        BackendError: asking again is useless, or was tried `retries` times.
    """
    why = reason(error)
    if isinstance(error, openai.APIStatusError):
        status = error.status_code
        if error.code == "insufficient_quota":
            raise BackendError(f"{endpoint} says the account is out of quota: {why}") from error
        if status < 500 and status not in _PASSING_STATUS:
            remedy = _REMEDIES.get(status, "change the options it complains about")
            raise BackendError(f"{endpoint} refuses with status {status}: {why}; {remedy}") from error
    if failures > retries:
        raise BackendError(f"{endpoint} failed {failures} times in a row: {why}") from error
    asked = _asked_wait(error)
    if asked is None:
        doubled = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (failures - 1))
        return doubled * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, no secret
    if asked > LONGEST_ASKED_WAIT_SECONDS:
        raise BackendError(f"{endpoint} asks to wait {asked:.0f} s: {why}; run again later") from error
    return asked


def is_content_filter(error: Exception) -> bool:
    """Whether the endpoint refused the content of one request, which says nothing about the next."""
    return isinstance(error, openai.BadRequestError) and error.code == "content_filter"


def _asked_wait(error: Exception) -> float | None:
    """Seconds that `Retry-After` asks for, given in seconds or as a date; None without one."""
    if not isinstance(error, openai.APIStatusError):
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


def reason(error: Exception) -> str:
    """The first line of what the endpoint says, or of what broke the connection."""
    text = str(error)
    if isinstance(error, openai.APIStatusError):
        said = error.body.get("message") if isinstance(error.body, dict) else None
        text = str(said or error.response.text or error)
    elif isinstance(error, openai.APIConnectionError) and str(error.__cause__ or ""):
        text = str(error.__cause__)
    return (text.strip().splitlines() or [type(error).__name__])[0][:300]
