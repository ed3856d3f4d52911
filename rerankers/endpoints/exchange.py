"""One call of an endpoint as it went, which is what the response cache keeps and what is charged."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from rerankers.stages import Stage  # noqa: TC001 - read by pydantic

End = Literal["done", "known", "cut_off", "refused"]
"""Why an answer ends: the model ended its turn; `ChatCall.known` ended it;
`max_new_tokens` was reached; the endpoint withheld it."""

BY_ENDPOINT = "the endpoint"
MOST_TOKENS = 10**8
"""No call has as many; what counts more of them does not count tokens."""

_Tokens = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(slots=True)
class Exchange:
    """One call as it went: the response, what the endpoint counted, and what the client measured.

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
        """Return whether somebody else than the endpoint counted the tokens."""
        return self.counted_by != BY_ENDPOINT


def canonical(value: object) -> str:
    """Return JSON that does not depend on the order of keys; ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def read_count(value: Any) -> int | None:
    """Read a count of tokens: 100, 100.0 or "100"; None of anything else, and of more than any call has."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_TOKENS:
        return None
    return int(value) if value == int(value) else None
