"""The interface of chat models: conversations that make calls, and backends that answer them.

A reranker writes each query as a `Conversation`: a generator that yields a round of `ChatCall`s, is sent a
`ChatCompletion` for each of them, and returns its ranking. The calls of a round do not depend on each other.
A backend drives many conversations at once, each in its own order: an endpoint serves them and their rounds
concurrently, a model in this process in batches. The reranker knows nothing of either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypedDict, TypeVar

from rerankers.errors import InputError

if TYPE_CHECKING:
    from rerankers.endpoints.exchange import End
    from rerankers.endpoints.prices import Budget
    from rerankers.interface import Cost
    from rerankers.stages import StageClock


class Message(TypedDict):
    """One turn of a chat: who speaks, and the text."""

    role: Literal["system", "user", "assistant"]
    content: str


def joined_turns(
    messages: Sequence[Message], *, joins_system: bool = True, joins_turns: bool = False
) -> list[Message]:
    """Return a chat with some turns joined by an empty line, for models that do not take them one by one.

    Args:
        messages: the chat.
        joins_system: the system turn joins the user's.
        joins_turns: turns of one role in a row become one.
    """
    joined: list[Message] = []
    is_system = False  # whether the turn before was the system's
    for message in messages:
        role = "user" if message["role"] == "system" and joins_system else message["role"]
        if joined and joined[-1]["role"] == role and (joins_turns or is_system):
            joined[-1] = {"role": role, "content": f"{joined[-1]['content']}\n\n{message['content']}"}
        else:
            joined.append({"role": role, "content": message["content"]})
        is_system = message["role"] == "system"
    return joined


@dataclass(frozen=True, slots=True)
class ChatCall:
    """One prompt for a chat model, with its limit and stop condition.

    Attributes:
        messages: the chat so far; the model writes the next assistant turn.
        max_new_tokens: most tokens that the model may write.
        cost: the request that pays; the backend adds seconds and tokens to it.
        stop_condition: returns whether the text so far holds all that the caller will read. A backend that
            sees the text grow ends it there; one that does not may ignore it.
    """

    messages: Sequence[Message]
    max_new_tokens: int
    cost: Cost
    stop_condition: Callable[[str], bool] = lambda text: False


@dataclass(frozen=True, slots=True)
class ChatCompletion:
    """The model's text for one call, its finish reason, and its number of tokens, reasoning not counted."""

    text: str
    end: End = "done"
    tokens: int = field(default=0, compare=False)


T = TypeVar("T")
Conversation = Generator[Sequence[ChatCall], Sequence[ChatCompletion], T]
"""A conversation: yields rounds of calls, is sent each round's answers, and returns a T."""


def ask(call: ChatCall) -> Conversation[ChatCompletion]:
    """Make one call as a round of its own in a conversation, and return its answer."""
    [answer] = yield [call]
    return answer


def count_round(calls: Sequence[ChatCall]) -> None:
    """Count a round: add one to `sequential_calls` of the request that pays for it."""
    calls[0].cost.usage.sequential_calls += 1


class ChatBackend(ABC):
    """A chat model that answers the calls of conversations: in this process, or behind an endpoint."""

    device: str = "cpu"
    """The torch device whose queue the clock has to wait for."""

    @abstractmethod
    def run(self, conversations: Sequence[Conversation[T]], clock: StageClock) -> list[T]:
        """Drive every conversation to its end, and return their results in the same order.

        Raises:
            BackendError: an endpoint failed for good; no further call is made for any conversation.
            ModelError: the model cannot take a call.
        """

    def cut_to_tokens(self, texts: Sequence[str], limit: int) -> tuple[list[str], list[bool]]:
        """Cut each text to its first `limit` tokens; return the texts, and for each whether it was cut.

        Raises:
            InputError: the model is behind an endpoint, which does not tell its tokens.
        """
        raise InputError("an endpoint does not tell its model's tokens. Cut passages after words.")

    def fits(self, messages: Sequence[Message], max_new_tokens: int) -> bool:
        """Return whether prompt and completion fit the model's context; True if only the endpoint knows."""
        return True

    def pay_from(self, budget: Budget) -> None:  # noqa: B027 - a model in this process costs nothing
        """Charge calls to a budget from now on, and stop before one could cost more than it has left.

        Raises:
            InputError: what the calls cost is not known.
        """

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Return the record's entry: model, revision and numerics as really used. JSON values."""

    def close(self) -> None:  # noqa: B027 - a model in process holds nothing that needs closing
        """Release connections, if there are any."""
