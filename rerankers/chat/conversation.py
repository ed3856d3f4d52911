"""Chat models behind one small interface: talks that ask, and backends that answer them.

A reranker writes each query as a talk: a generator that yields a round of `ChatCall`s, is sent a `ChatAnswer`
for each of them, and returns its ranking. The calls of a round do not depend on each other. A backend drives
many talks at once, each in its own order: an endpoint serves them and their rounds concurrently, a model in
this process in batches. The reranker knows nothing of either.
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
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


def joined_turns(
    messages: Sequence[Message], *, joins_system: bool = True, joins_turns: bool = False
) -> list[Message]:
    """Join turns with an empty line between them, for models that do not take them one by one.

    Args:
        messages: the conversation.
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
    """One question to a chat model.

    Attributes:
        messages: the conversation so far; the model writes the next assistant turn.
        max_new_tokens: the answer is cut off here.
        cost: the request that pays; the backend adds seconds and tokens to it.
        known: whether the answer so far holds all that the caller will read. A backend that sees the answer
            grow ends it there; one that does not may ignore it.
    """

    messages: Sequence[Message]
    max_new_tokens: int
    cost: Cost
    known: Callable[[str], bool] = lambda text: False


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """The model's text, its finish reason, and its number of tokens, thoughts not counted."""

    text: str
    end: End = "done"
    tokens: int = field(default=0, compare=False)


T = TypeVar("T")
Talk = Generator[Sequence[ChatCall], Sequence[ChatAnswer], T]


def ask(call: ChatCall) -> Talk[ChatAnswer]:
    """Ask one question that everything after it depends on, as a part of a talk."""
    [answer] = yield [call]
    return answer


def count_round(calls: Sequence[ChatCall]) -> None:
    """Count a round of a talk as calls that had to follow the ones before; backends do so once a round."""
    calls[0].cost.usage.sequential_calls += 1


class ChatBackend(ABC):
    """Answers the calls of talks."""

    device: str = "cpu"
    """The torch device whose queue the clock has to wait for."""

    @abstractmethod
    def run(self, talks: Sequence[Talk[T]], clock: StageClock) -> list[T]:
        """Drive every talk to its end; their results, in the order given.

        Raises:
            BackendError: an endpoint failed for good; no further call is made for any talk.
            ModelError: the model cannot take a call.
        """

    def cut_to_tokens(self, texts: Sequence[str], limit: int) -> tuple[list[str], list[bool]]:
        """Return each text's beginning of at most `limit` tokens, and whether anything was cut.

        Raises:
            InputError: only the endpoint knows the model's tokens.
        """
        raise InputError("an endpoint does not tell its model's tokens. Cut passages after words.")

    def fits(self, messages: Sequence[Message], max_new_tokens: int) -> bool:
        """Return whether a call fits the model's context; True where only the endpoint knows."""
        return True

    def pay_from(self, budget: Budget) -> None:  # noqa: B027 - a model in this process costs nothing
        """Stop before calls could cost more than a budget has left.

        Raises:
            InputError: what the calls cost is not known.
        """

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Return model, revision and numerics as really used. JSON values."""

    def close(self) -> None:  # noqa: B027 - a model in process holds nothing that needs closing
        """Release connections."""
