"""Learns which request options a chat endpoint refuses, and rewrites later requests without them.

Endpoints differ in the options and turns that they take. A refusal is remembered, so that later requests
leave the same option out at once.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rerankers.chat.conversation import joined_turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.chat.conversation import Message
    from rerankers.endpoints.failures import StatusError

_OTHER_LIMIT = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_SYSTEM_TURN, _REPEATED_TURNS = "system_turn", "repeated_turns"
_TURNS = {_SYSTEM_TURN, _REPEATED_TURNS}
_NO_SYSTEM = re.compile(r"system (role|message|turn|prompt)|only user|roles must alternate", re.IGNORECASE)
_ALTERNATE = re.compile(r"roles must alternate", re.IGNORECASE)
"""Words by which chat templates behind an endpoint refuse turns."""
_REFUSAL = re.compile(
    r"(un|not |n't )(support|recogni[sz]e|know|permit|allow|expect|accept)|\bextra\b|deprecated"
    r"|invalid (parameter|argument|field)",
    re.IGNORECASE,
)
"""Words by which servers refuse an option as such; its value is too large in other words."""


class AcceptedOptions:
    """The request options that one endpoint accepts, as far as its refusals show.

    Args:
        limit: the field that limits a completion's tokens, as requests are first written.
        stream_options: the options of a stream that are asked for; None where completions are not streamed.

    Attributes:
        refused: names of the options, and kinds of turns, that the endpoint has refused.
    """

    def __init__(self, limit: str, stream_options: dict[str, bool] | None) -> None:
        self.refused: set[str] = set()
        self._first_limit = self._limit = limit
        self._stream_options = stream_options

    @property
    def asks_usage(self) -> bool:
        """True if a stream is asked to report its token usage."""
        return self._stream_options is not None and "stream_options" not in self.refused

    def rewrite(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a request body without what the endpoint refused before: options dropped, turns joined."""
        sent = {name: value for name, value in body.items() if name not in self.refused}
        sent[self._limit] = body[self._first_limit]
        if _TURNS & self.refused:
            turns = _REPEATED_TURNS in self.refused
            sent["messages"] = joined_turns(body["messages"], joins_turns=turns)
        if self.asks_usage:
            sent["stream_options"] = self._stream_options
        return sent

    def learn(self, error: StatusError, sent: dict[str, Any]) -> bool:
        """Note the option that an error response refuses, and return whether to send the request again.

        False if the error has another cause, or if the request cannot do without the option.

        Args:
            error: the endpoint's response.
            sent: body of the request that it refused.
        """
        message = error.body.message
        if error.status not in (400, 422):
            return False
        if "stream_options" in sent and self._stream_options is not None and "stream_options" in message:
            self.refused.add("stream_options")
            return True
        if self._joins_turns(message, sent["messages"]):
            return True
        if not _REFUSAL.search(message):
            return False
        limit = next(name for name in _OTHER_LIMIT if name in sent)
        other = _OTHER_LIMIT[limit]
        if re.search(rf"\b{limit}\b", message) and other not in self.refused:
            self.refused.add(limit)
            self._limit = other
            return True
        # A temperature above 1 may be refused for its value, which is for the user to change.
        if sent.get("temperature", 2.0) <= 1.0 and "temperature" in message:
            self.refused.add("temperature")
            return True
        return False

    def _joins_turns(self, message: str, messages: Sequence[Message]) -> bool:
        """Return whether an error message refuses the kinds of turns sent; if so, remember to join them.

        Gemma 2 and older Mistral models refuse system turns, and some templates two turns of one role in a
        row.
        """
        roles = [turn["role"] for turn in messages]
        if "system" in roles and _NO_SYSTEM.search(message):
            self.refused.add(_SYSTEM_TURN)
            return True
        if any(one == other for one, other in pairwise(roles)) and _ALTERNATE.search(message):
            self.refused.add(_REPEATED_TURNS)
            return True
        return False
