"""A PE-Rank that works as the published code does, as the baseline that the benchmark compares with.

Written from the method's description (arXiv 2406.14848) and from how its code is known to run: every window
embeds its passages' text anew, as one padded batch; every forward pass computes the logits of the whole
vocabulary, enlarged by the window's passages, at every position; all but the open passages are masked; and an
end token is forced after the last rank, so that a window of n takes n + 1 passes, one query at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from rerankers.listwise.windows import sliding_windows

if TYPE_CHECKING:
    from rerankers import RerankRequest, StageClock
    from rerankers.encoders.encoder import Encoder
    from rerankers.interface import Cost
    from rerankers.pe_rank.model import PassageLLM


@dataclass
class ReferencePERank:
    """A PE-Rank that ranks one query at a time, without any optimisation.

    Attributes:
        llm: the language model with its projector.
        encoder: embeds the passages.
        window: passages in a window.
        step: stride of the window.
        passes: forward passes of the latest query.
    """

    llm: PassageLLM
    encoder: Encoder
    window: int = 20
    step: int = 10
    passes: int = field(default=0, init=False)

    @torch.inference_mode()
    def order(self, request: RerankRequest, cost: Cost, clock: StageClock) -> list[int]:
        """Rank a request's candidates by sliding windows, and return their positions, best first.

        Args:
            request: query and candidates.
            cost: the usage and stage times of this request, to be added to.
            clock: times the stages.
        """
        self.passes = 0
        order = list(range(len(request.candidates)))
        for start, end in sliding_windows(len(order), self.window, self.step, "reference"):
            texts = [request.candidates[i].text for i in order[start:end]]
            with clock.stage("embed", cost):
                vectors = self.encoder.encode(texts)
            with clock.stage("project", cost):
                passages = self.llm.project(vectors)  # (n, dimension)
            places = self._window(request.query, passages, cost, clock)
            order[start:end] = [order[start + place] for place in places]
        return order

    def _window(self, query: str, passages: torch.Tensor, cost: Cost, clock: StageClock) -> list[int]:
        """Rank the passages of one window by greedy decoding, and return their positions, best first.

        Args:
            query: the query's text.
            passages: projected embeddings, (n, dimension).
            cost: the usage and stage times of this request, to be added to.
            clock: times the stages.
        """
        model, count = self.llm, len(passages)
        with clock.stage("prompt", cost):
            prompt = model.writer.write(query, count)
        embedding: torch.Tensor = model.transformer.get_input_embeddings().weight  # (vocabulary, dimension)
        table = torch.cat([embedding, passages])  # (vocabulary + n, dimension)
        closed = torch.zeros(len(table), dtype=torch.bool, device=model.device)
        closed[: len(embedding)] = True
        cache = DynamicCache(config=model.transformer.config)
        with clock.stage("prefill", cost):
            inputs = model.embed(torch.tensor([prompt.token_ids], device=model.device))
            inputs[0, list(prompt.placeholders)] = passages
            logits = self._logits(inputs, cache, table)
        places: list[int] = []
        with clock.stage("decode", cost):
            while len(places) < count:
                token = int(logits.masked_fill(closed, -torch.inf).argmax())
                closed[token] = True
                places.append(token - len(embedding))
                logits = self._logits(table[token].view(1, 1, -1), cache, table)  # the last: the end token
        return places

    def _logits(self, inputs: torch.Tensor, cache: DynamicCache, table: torch.Tensor) -> torch.Tensor:
        """Run one forward pass, and return the logits after the last input, (vocabulary + n,).

        Logits are computed at every position, as the published code does.

        Args:
            inputs: input embeddings, (1, length, dimension).
            cache: the KV cache, which is extended.
            table: output embeddings of the vocabulary and the passages, (vocabulary + n, dimension).
        """
        self.passes += 1
        hidden = self.llm.transformer(inputs_embeds=inputs, past_key_values=cache, use_cache=True)
        logits: torch.Tensor = hidden.last_hidden_state @ table.T
        return logits[0, -1].float()
