"""Ranks held-out lists by the text ranker in training, through the reranker that will use it.

`rankgpt` with its parser and repairs reads what the model writes; with letters, the logits of the first one
are the scores, as in `first`. A list is one window. See `rerankers.training.measures.gold_ndcg`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from rerankers.chat.in_process import TransformersChat
from rerankers.interface import RerankRequest
from rerankers.listwise.first import letter_tokens
from rerankers.listwise.rankgpt import RankGPT
from rerankers.methods.listwise.rankgpt import RankGPTOptions
from rerankers.stages import StageClock
from rerankers.training.measures import HeldOutLists
from rerankers.training.setup import WholeModelValidation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.chat.conversation import ChatBackend
    from rerankers.llm.causal import CausalLM
    from rerankers.methods.chat import ChatOptions
    from rerankers.training.data.records import RankingRecord
    from rerankers.training.text.model import TrainableTextRanker
    from rerankers.training.text.prompts import TextPrompts
    from rerankers.training.text.settings import TextSettings


class TextValidation(WholeModelValidation):
    """Held-out lists that a text ranker in training ranks.

    Args:
        records: lists.
        prompts: writes them.
        settings: of the training.
        base: the language model, which learns in place.
    """

    def __init__(
        self, records: Sequence[RankingRecord], prompts: TextPrompts, settings: TextSettings, base: CausalLM
    ) -> None:
        self._records, self._prompts, self._settings, self._base = records, prompts, settings, base
        self.lists = HeldOutLists.of(records)
        self._letters: list[int] | None = None
        if prompts.uses_letters:
            self._letters = letter_tokens(prompts.encode, prompts.text("?", ["."]) + "[", settings.llm.model)

    def __len__(self) -> int:
        return len(self._records)

    def orders(self, model: TrainableTextRanker) -> list[list[int]]:
        """Return the model's order of each list: positions of its passages, best first.

        The model stays as it was.
        """
        was_training = model.training
        model.eval()
        if model.merger is not None:
            model.merger.merge()
        orders = self._by_answers() if self._letters is None else self._by_letters(self._letters)
        model.train(was_training)
        return orders

    def _by_answers(self) -> list[list[int]]:
        """Return the order of each list that the model writes, parsed as `rankgpt` does."""
        reranker = _InTraining.over(self._base, self._settings)
        requests = [
            RerankRequest.of(record.query, {str(i): text for i, text in enumerate(record.passages)})
            for record in self._records
        ]
        rankings = reranker.rerank(requests, StageClock())
        return [[int(doc_id) for doc_id in ranking.doc_ids] for ranking in rankings]

    @torch.inference_mode()
    def _by_letters(self, letters: Sequence[int]) -> list[list[int]]:
        """Return the order of each list by the next-token logits of its passages' letters, best first."""
        orders = []
        for record in self._records:
            prompt = self._prompts.encode(self._prompts.text(record.query, record.passages) + "[")
            ids = torch.tensor([prompt], device=self._base.device)  # (1, len(prompt))
            logits = self._base.model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1]
            scores = logits[list(letters[: len(record.passages)])].tolist()
            orders.append(sorted(range(len(scores)), key=lambda place: -scores[place]))
        return orders


class _InTraining(RankGPT):
    """A `rankgpt` reranker over a model in this process that is loaded already and still learns."""

    _llm: CausalLM

    @classmethod
    def over(cls, llm: CausalLM, settings: TextSettings) -> RankGPT:
        """Return `rankgpt` around a loaded model, as a checkpoint would be used, with one window a list."""
        options = RankGPTOptions(
            model=settings.llm.model,
            backend="transformers",
            template_variables=settings.template_variables,
            device=str(llm.device),
            window=0,
            prompt=settings.prompt,
            passage_words=settings.passage_words,
        )
        held: Any = type("_Held", (cls,), {"_llm": llm})
        reranker: RankGPT = held(options)
        return reranker

    def _open(self, options: ChatOptions) -> ChatBackend:
        return TransformersChat(options, self._llm)
