"""The record of one call to an endpoint, as the response cache keeps it and the call is charged."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from rerankers.stages import Stage  # noqa: TC001 - read by pydantic

End = Literal["done", "known", "cut_off", "refused"]
"""Finish reason of a completion: the model ended its turn (done), `ChatCall.stop_condition` was met (known),
it reached `max_new_tokens` (cut_off), or the endpoint withheld it (refused)."""

BY_ENDPOINT = "the endpoint"
MOST_TOKENS = 10**8
"""Largest token count that is believed: no call has as many tokens."""

_Tokens = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(slots=True)
class Exchange:
    """One call to an endpoint: text, finish reason, token counts, model and seconds of the response.

    `options_refused` names the options that the endpoint refused and that were left out or renamed.
    """

    text: str = ""
    end: End = "done"
    prompt_tokens: _Tokens = 0
    cached_tokens: _Tokens = 0
    generated_tokens: _Tokens = 0
    reasoning_tokens: _Tokens = 0
    counted_by: str = BY_ENDPOINT
    served_model: str = ""
    fingerprint: str = ""
    stage_seconds: dict[Stage, _Seconds] = field(default_factory=dict)
    options_refused: list[str] = field(default_factory=list)

    @property
    def is_estimate(self) -> bool:
        """True if the token counts are an estimate, not the endpoint's own."""
        return self.counted_by != BY_ENDPOINT


def canonical(value: object) -> str:
    """Return a value as compact ASCII JSON with sorted keys, equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def read_count(value: Any) -> int | None:
    """Return a token count given as 100, 100.0 or "100".

    None for any other value, and beyond `MOST_TOKENS`.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_TOKENS:
        return None
    return int(value) if value == int(value) else None
