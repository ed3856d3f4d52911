"""What to do when an HTTP endpoint fails: wait and ask again, or stop before failures are paid for.

A failure that may pass (rate limit, overload, timeout, broken connection, half an answer) is waited out: for
as long as the endpoint asks with `Retry-After`, else exponentially longer each time. One that cannot pass (a
wrong key, model or request) ends the run at once, and the message says what to change.
"""

from __future__ import annotations

import random

import httpx

from rerankers.errors import BackendError

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0

_PASSING_STATUS = frozenset({408, 409, 425, 429})  # beside every 5xx


class UnusableResponseError(Exception):
    """An endpoint reported success but sent something else than results."""


def wait_before_retry(error: Exception, failures: int, retries: int, url: str, key: str) -> float:
    """Seconds to wait after the latest of `failures` failures of one call.

    Args:
        error: what the latest attempt raised.
        failures: attempts that failed so far, this one included.
        retries: attempts allowed after the first.
        url: the endpoint, for the message.
        key: the environment variable of its key, for the message.

    Raises:
        BackendError: asking again is useless, or was tried `retries` times.
    """
    host = httpx.URL(url).host
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    asked = None
    if isinstance(error, httpx.HTTPStatusError):
        response = error.response
        reason = f"status {response.status_code}: {response.text.strip()[:200]}"
        if response.status_code < 500 and response.status_code not in _PASSING_STATUS:
            remedies = {401: f"set {key} to a valid key", 403: f"set {key} to a key that may use this model"}
            remedy = remedies.get(response.status_code, "check api, base_url and model")
            raise BackendError(f"{host} refuses with {reason}; {remedy}") from error
        asked = response.headers.get("retry-after", "").strip()
    if failures > retries:
        raise BackendError(f"{host} failed {failures} times in a row: {reason}") from error
    if asked and asked.replace(".", "", 1).isdigit():
        return min(LONGEST_WAIT_SECONDS, float(asked))
    doubled = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (failures - 1))
    return doubled * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, no secret
