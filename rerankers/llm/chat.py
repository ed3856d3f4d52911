"""Chat models behind one small interface: talks that ask, and backends that answer them.

A reranker writes each query as a talk: a generator that yields a `ChatCall`, is sent the `ChatAnswer`, and
returns its ranking. A backend drives many talks at once, each in its own order: an endpoint serves them
concurrently, an in-process model one after the other. The reranker knows nothing of either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict, TypeVar

from rerankers.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

    from rerankers.devices import AttentionName, DtypeName
    from rerankers.interface import Cost
    from rerankers.stages import StageClock

BackendName = Literal["openai", "transformers"]

End = Literal["done", "known", "cut_off", "refused"]
"""Why an answer ends: the model ended its turn; `ChatCall.known` ended it; `max_new_tokens` was reached; the
endpoint withheld it."""


class Message(TypedDict):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


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
    """What the model wrote, and why it stopped."""

    text: str
    end: End = "done"


T = TypeVar("T")
Talk = Generator[ChatCall, ChatAnswer, T]


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

    def fits(self, messages: Sequence[Message], max_new_tokens: int) -> bool:
        """Whether a call fits the model's context; True where only the endpoint knows."""
        return True

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Model, revision and numerics as really used. JSON values."""

    def close(self) -> None:  # noqa: B027 - a model in process holds nothing that needs closing
        """Release connections."""


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """What the options of a chat reranker say about its backend; see `open_chat`.

    Attributes:
        backend: `openai` for an endpoint, `transformers` for a model in this process.
        model: the endpoint's name of the model, or a hub id, folder or wheel.
        base_url: `openai`: root of the API; None is `$OPENAI_BASE_URL`, else OpenAI itself.
        concurrency: `openai`: calls under way at once.
        timeout_seconds: `openai`: longest wait for one answer.
        retries: `openai`: further attempts after a failure that may pass.
        temperature: `openai`: None leaves it to the endpoint, as some models demand.
        stream: `openai`: read answers as they grow: prefill and decode apart, and ended once known.
        recording: `openai`: file of answers to replay and to add to.
        budget_dollars: `openai`: stop before calls could cost more.
        revision, dtype, device, attention: `transformers`: see `rerankers.llm.causal`.
    """

    backend: BackendName
    model: str
    base_url: str | None = None
    concurrency: int = 8
    timeout_seconds: float = 120.0
    retries: int = 6
    temperature: float | None = 0.0
    stream: bool = False
    recording: Path | None = None
    budget_dollars: float | None = None
    revision: str | None = None
    dtype: DtypeName = "auto"
    device: str = "auto"
    attention: AttentionName = "auto"


def open_chat(settings: ChatSettings) -> ChatBackend:
    """The backend that the settings name, loaded or connected on first use.

    Raises:
        InputError: a setting does not belong to the backend.
        MissingExtraError: the backend's packages are not installed.
        ModelError: the model does not load.
    """
    if settings.backend == "openai":
        if settings.revision is not None:
            raise InputError("the openai backend knows no revision; name the exact model instead")
        try:
            from rerankers.llm.openai_chat import OpenAIChat
        except ModuleNotFoundError as error:
            raise MissingExtraError("the openai backend", "openai") from error
        return OpenAIChat(settings)
    for name in ("base_url", "recording", "budget_dollars"):
        if getattr(settings, name) is not None:
            raise InputError(f"the transformers backend has no {name}; use backend: openai")
    if settings.stream:
        raise InputError("the transformers backend sees answers grow anyway; leave stream out")
    if settings.temperature != 0.0:
        raise InputError("the transformers backend decodes greedily; leave temperature at 0")
    from rerankers.llm.transformers_chat import TransformersChat

    return TransformersChat(settings)
