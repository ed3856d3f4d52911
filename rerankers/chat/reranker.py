"""The base of rerankers with a chat model: one conversation a query, driven by a backend."""

from __future__ import annotations

import copy
import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from rerankers.chat.backends import open_chat, refuse_foreign_options
from rerankers.endpoints.prices import find_price
from rerankers.interface import Capabilities, Ranking, Reranker, RerankRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.chat.conversation import ChatBackend, Talk
    from rerankers.chat.options import ChatOptions
    from rerankers.endpoints.prices import Budget
    from rerankers.stages import StageClock


class ChatReranker(Reranker):
    """A reranker that says how it talks about one request; requests run side by side in the backend."""

    def __init__(self, chat: ChatOptions) -> None:
        self._chat_options = chat
        self._chat = self._open(chat)
        self.device = self._chat.device

    def _open(self, chat: ChatOptions) -> ChatBackend:
        """Open the backend that the options name."""
        return open_chat(chat)

    @classmethod
    def capabilities(cls, options: Mapping[str, Any]) -> Capabilities:
        """Tell whether an endpoint answers; a chat model in this process is loaded like any other."""
        if options["backend"] != "openai":
            from rerankers.llm.adapter import loaded_models

            return Capabilities(models=loaded_models(options["model"], options["revision"]))
        price = options["price"] or find_price(options["model"])
        return Capabilities(
            is_remote=True,
            is_priced=price is not None,
            is_replayed=options["recording"] is not None,
            missing_key=_missing_key(options),
            may_use_gpu=False,
        )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse options that do not belong to the backend."""
        refuse_foreign_options(options)

    def connection(self) -> Reranker:
        """Return a reranker that asks the same endpoint over a connection of its own."""
        if self._chat_options.backend != "openai":
            return self
        other = copy.copy(self)
        other._chat = self._open(self._chat_options)
        return other

    @abstractmethod
    def _talk(self, request: RerankRequest, clock: StageClock) -> Talk[Ranking]:
        """Ask what has to be asked about a request, call by call, and return its ranking."""

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank the requests side by side, the calls of each one after another."""
        return self._chat.run([self._talk(request, clock) for request in requests], clock)

    def pay_from(self, budget: Budget) -> None:
        """Stop before calls could cost more than a budget has left."""
        self._chat.pay_from(budget)

    def describe(self) -> dict[str, object]:
        """Return the backend as used."""
        return self._chat.describe()

    def close(self) -> None:
        """Close the backend's connections."""
        self._chat.close()


def _missing_key(options: Mapping[str, Any]) -> str | None:
    """Return the variable of the key that OpenAI itself needs; other endpoints may need none."""
    has_address = options["base_url"] or os.environ.get("OPENAI_BASE_URL")
    is_ready = has_address or options["recording"] or os.environ.get("OPENAI_API_KEY")
    return None if is_ready else "OPENAI_API_KEY"
