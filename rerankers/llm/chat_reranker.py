"""What all rerankers with a chat model share: one talk a query, driven by a backend."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from rerankers.interface import Ranking, Reranker, RerankRequest
from rerankers.llm.backends import open_chat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.llm.chat import Talk
    from rerankers.llm.options import ChatOptions
    from rerankers.llm.prices import Budget
    from rerankers.stages import StageClock


class ChatReranker(Reranker):
    """A reranker that says how it talks about one request; requests run side by side in the backend."""

    def __init__(self, chat: ChatOptions) -> None:
        self._chat = open_chat(chat)
        self.device = self._chat.device

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
        """The backend as used."""
        return self._chat.describe()

    def close(self) -> None:
        """Close the backend's connections."""
        self._chat.close()
