"""The base of rerankers that use a chat model: one conversation a query, driven by a backend."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import TYPE_CHECKING

from rerankers.chat.backends import open_chat
from rerankers.interface import Ranking, Reranker, RerankRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.chat.conversation import ChatBackend, Conversation
    from rerankers.endpoints.prices import Budget
    from rerankers.methods.chat import ChatOptions
    from rerankers.stages import StageClock


class ChatReranker(Reranker):
    """A reranker that ranks each request by a conversation with a chat model.

    A subclass defines `_conversation`; the backend runs the conversations of several requests side by side.
    """

    def __init__(self, options: ChatOptions) -> None:
        self._chat_options = options
        self._chat = self._open(options)
        self.device = self._chat.device

    def _open(self, options: ChatOptions) -> ChatBackend:
        """Return the backend that the options name."""
        return open_chat(options)

    def connection(self) -> Reranker:
        """Return a reranker that calls the same endpoint over a connection of its own.

        Itself for a local model.
        """
        if self._chat_options.backend != "openai":
            return self
        other = copy.copy(self)
        other._chat = self._open(self._chat_options)
        return other

    @abstractmethod
    def _conversation(self, request: RerankRequest, clock: StageClock) -> Conversation[Ranking]:
        """Return the conversation about one request: it yields rounds of calls and returns the ranking."""

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank the requests, their conversations running side by side."""
        return self._chat.run([self._conversation(request, clock) for request in requests], clock)

    def pay_from(self, budget: Budget) -> None:
        """Charge calls to a budget from now on, and stop before one could cost more than it has left."""
        self._chat.pay_from(budget)

    def describe(self) -> dict[str, object]:
        """Return the record's entry of the backend: model, revision and settings as really used."""
        return self._chat.describe()

    def close(self) -> None:
        """Close the backend's connections."""
        self._chat.close()
