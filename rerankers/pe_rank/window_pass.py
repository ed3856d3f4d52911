"""The ranking of one batch of windows: passage embeddings, prompts, prefill, and decoding to a depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rerankers.encoders.transfer import to_device
from rerankers.methods.pe_rank import TEXT_WORDS
from rerankers.pe_rank.greedy import plain_order
from rerankers.pe_rank.query_batch import lead_with
from rerankers.pe_rank.speculative import draft_and_verify
from rerankers.text.words import split_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.encoders.passages import PassageEmbedder
    from rerankers.methods.pe_rank import PERankOptions
    from rerankers.pe_rank.model import PassageLLM
    from rerankers.pe_rank.prompt import Prompt
    from rerankers.pe_rank.query_batch import QueryBatch


class WindowPass:
    """A ranker of batches of windows that show equal numbers of passages.

    Args:
        llm: the language model with its projector.
        embedder: the source of passage embeddings.
        options: the content of the prompt, and how ranks are decoded.
    """

    def __init__(self, llm: PassageLLM, embedder: PassageEmbedder, options: PERankOptions) -> None:
        self._llm, self._embedder, self._options = llm, embedder, options

    def rank(self, run: QueryBatch, rows: torch.Tensor, depth: int) -> torch.Tensor:
        """Return the candidates of one window of each query, best first to a depth, then in input order.

        Tokens, windows and depth are added to the queries' costs.

        Args:
            run: the queries, one a row.
            rows: candidate positions that each window shows, (rows, n).
            depth: ranks to decode.

        Returns:
            candidate positions, (rows, n).
        """
        if run.projected is None:
            projected = self.projected(run, rows.tolist())
        else:
            projected = run.projected.gather(1, rows[:, :, None].expand(-1, -1, run.projected.shape[2]))
        with run.clock.stage("prompt", *run.costs):
            prompts = self._prompts(run, rows)
            same = run.same_text(rows)
        if self._options.exact:
            ranks = self._greedy_ranks(run, prompts, projected, same, depth)
        else:
            ranks = self._decoded_ranks(run, prompts, projected, same, depth, rows)
        with run.clock.stage("decode", *run.costs):
            ranked = rows.gather(1, lead_with(ranks, rows.shape[1]))
        for cost, prompt in zip(run.costs, prompts, strict=True):
            cost.usage.windows += 1
            cost.usage.llm_calls += 1
            cost.usage.generated_tokens += depth
            cost.usage.depths.append(depth)
            cost.usage.control_tokens += prompt.control_tokens
        return ranked

    def projected(self, run: QueryBatch, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return passages in the language model's input space; each different text is embedded once.

        Args:
            run: the queries, one a row.
            rows: candidate positions of each query, n each.

        Returns:
            (rows, n, dimension)
        """
        row_of: dict[str, int] = {}
        usages = []
        for request, cost, candidates in zip(run.requests, run.costs, rows, strict=True):
            for i in candidates:
                text = request.candidates[i].text
                if text not in row_of:
                    row_of[text] = len(row_of)
                    usages.append(cost.usage)
        with run.clock.stage("embed", *run.costs):
            vectors = self._embedder.vectors(list(row_of), usages)
        with run.clock.stage("project", *run.costs):
            index = [
                [row_of[request.candidates[i].text] for i in candidates]
                for request, candidates in zip(run.requests, rows, strict=True)
            ]
            return self._llm.project(vectors)[to_device(torch.tensor(index), self._llm.device)]

    def _decoded_ranks(
        self,
        run: QueryBatch,
        prompts: list[Prompt],
        projected: torch.Tensor,
        same: torch.Tensor | None,
        depth: int,
        shown: torch.Tensor,
    ) -> torch.Tensor:
        """Return the first ranks of every row, decoded speculatively where that is cheaper.

        Args:
            run: the queries, one a row.
            prompts: of each row.
            projected: the passages of each row, (rows, n, dimension).
            same: for each passage the first with the same text, (rows, n); None if all texts differ.
            depth: ranks to decode.
            shown: candidate positions of the passages, (rows, n).

        Returns:
            passage positions, (rows, depth).
        """
        with run.clock.stage("prefill", *run.costs):
            batch = run.decoder.prefill(prompts, projected, same)
        with run.clock.stage("decode", *run.costs):
            if run.policy.drafts(len(prompts), depth):
                ranks = draft_and_verify(run.decoder, batch, depth, run.memory, shown)
                run.policy.learn(depth, batch.passes - 1)
            else:
                ranks = run.decoder.steps(batch, depth)
        for cost, ran, kept in zip(run.costs, batch.run_tokens, batch.kept_tokens, strict=True):
            cost.usage.prompt_tokens += ran + kept
            cost.usage.cached_tokens += kept
        for cost in {id(cost): cost for cost in run.costs}.values():  # rows of a query share the passes
            cost.usage.decode_steps += batch.passes - 1
        return ranks

    def _greedy_ranks(
        self,
        run: QueryBatch,
        prompts: list[Prompt],
        projected: torch.Tensor,
        same: torch.Tensor | None,
        depth: int,
    ) -> torch.Tensor:
        """Return the first ranks of the only row, (1, depth), by the greedy reference decoder.

        Its prefill is timed as `decode`. The arguments are those of `_decoded_ranks`.
        """
        with run.clock.stage("decode", *run.costs):
            canonical = None if same is None else same[0].tolist()
            order = plain_order(self._llm, prompts[0], projected[0], depth, canonical)
        usage = run.costs[0].usage
        usage.prompt_tokens += len(prompts[0].token_ids)
        usage.decode_steps += depth - 1
        return torch.tensor([order[:depth]], device=self._llm.device)

    def _prompts(self, run: QueryBatch, rows: torch.Tensor) -> list[Prompt]:
        """Return a prompt for each row.

        Without passages' text it depends only on the query and the number of passages.

        Args:
            run: the queries, one a row.
            rows: candidate positions that each window shows, (rows, n).
        """
        count = rows.shape[1]
        if not self._options.text:
            return [run.bare_prompt(self._llm.writer, row, count) for row in range(len(run.requests))]
        prompts = []
        for request, cost, candidates in zip(run.requests, run.costs, rows.tolist(), strict=True):
            texts = []
            for i in candidates:
                text = request.candidates[i].text
                words = split_words(text)
                cost.usage.passages_truncated += len(words) > TEXT_WORDS
                texts.append(text if len(words) <= TEXT_WORDS else "".join(words[:TEXT_WORDS]))
            prompts.append(self._llm.writer.write(request.query, count, texts))
        return prompts
