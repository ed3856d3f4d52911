"""jina-reranker-v3: query and passages meet in one causal context, and their embeddings are compared.

Paper: arXiv 2509.25085 ("last but not late interaction"). A prompt holds the query and a block of passages.
The states behind each passage and behind the query pass a projector; cosines are the scores. Of several
blocks the query vectors are averaged, weighted by each block's best score. Deviations from the published
code, none of which changes a score in float32: blocks of several queries are read together, a prefix that
blocks share is prefilled once, and no token behind the query is read. Control tokens in data are read as
text, unless the options say otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from rerankers.errors import ModelError
from rerankers.interface import Cost, Ranking, Reranker, RerankRequest
from rerankers.listwise.jina_v3_prompt import BlockWriter, Limits
from rerankers.listwise.windows import initial_order
from rerankers.llm.causal import network_options
from rerankers.llm.hidden import HiddenLM
from rerankers.models.batching import resolve_batch_tokens
from rerankers.models.locate import find_model
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.listwise.jina_v3_prompt import Block
    from rerankers.llm.hidden import Read
    from rerankers.methods.listwise.jina_v3 import JinaV3Options
    from rerankers.stages import StageClock

_NO_LIMIT = 10**9  # tokenizers without a limit state one far beyond


@dataclass(slots=True)
class _Run:
    """The state of one request: candidates in initial order, cost, prompts (blocks) and their vectors."""

    request: RerankRequest
    cost: Cost
    blocks: list[Block]
    vectors: list[torch.Tensor]  # of each block: passages first, the query last; (passages + 1, 512)


class JinaV3(Reranker):
    """A reranker that scores passages by the cosine of their and the query's embeddings in one prompt.

    The attribute `writer` divides passages into blocks and writes their prompts.

    Raises:
        InputError: no such folder or device.
        ModelError: the model is not a jina-reranker-v3, or does not load.
    """

    def __init__(self, options: JinaV3Options) -> None:
        from rerankers.listwise.jina_v3_model import JinaForRanking, check_architecture

        check_architecture(find_model(options.model, options.revision))
        self._llm = HiddenLM(
            options.model,
            **network_options(options, options.device),
            architecture=JinaForRanking,
        )
        self._projector = self._llm.network.projector.float()  # in half precision near scores would tie
        self.device = str(self._llm.device)
        tokenizer = self._llm.tokenizer
        longest = min(tokenizer.model_max_length, self._llm.context or _NO_LIMIT)
        self._limits = Limits(
            options.max_query_tokens,
            options.max_passage_tokens,
            options.block_passages,
            options.context or longest,
        )
        self._control = ControlTokens(tokenizer, options.control_tokens)
        self.writer = BlockWriter(tokenizer, options.model, self._limits, options.instruction, self._control)
        self._llm.keep(self.writer.beginning())
        self._described = self._llm.describe()
        self._batch_tokens = resolve_batch_tokens(options.batch_tokens, self._llm.device)
        self._options = options

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank the requests; the prompts of all of them share forward passes."""
        runs = [self._run(request) for request in requests]
        busy = [run for run in runs if run.request.candidates]
        for run in busy:
            with clock.stage("prompt", run.cost):
                self._write(run)
        if busy:
            with clock.stage("forward", *(run.cost for run in busy)):
                self._read(busy)
        rankings = []
        for run in runs:
            with clock.stage("order", run.cost):
                scores = _scores(run.vectors) if run.vectors else []
                rankings.append(Ranking.by_score(run.request, scores, run.cost))
        return rankings

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the model as loaded, the limits, and how texts are read."""
        return {
            **self._described,
            "block_passages": self._limits.block_passages,
            "max_query_tokens": self._limits.query_tokens,
            "max_passage_tokens": self._limits.passage_tokens,
            "context": self._limits.context,
            "instruction": self._options.instruction,
            "initial_order": self._options.initial_order,
            "control_tokens": self._control.mode,
            "batch_tokens": self._batch_tokens,
        }

    def _run(self, request: RerankRequest) -> _Run:
        """Return the state of a request at its start, its candidates in the initial order."""
        how, seed = self._options.initial_order, self._options.seed
        first = initial_order(len(request.candidates), how, seed, request.query_id)
        candidates = tuple(request.candidates[i] for i in first)
        return _Run(replace(request, candidates=candidates), Cost(), [], [])

    def _write(self, run: _Run) -> None:
        """Write the prompts of one request into `run.blocks`, and count them.

        Raises:
            ModelError: a prompt exceeds the model's context.
        """
        passages = [candidate.text for candidate in run.request.candidates]
        texts = self.writer.texts(run.request.query, passages)
        run.blocks = [self.writer.write(texts, start, end) for start, end in self.writer.divide(texts)]
        longest = max(len(block.token_ids) for block in run.blocks)
        if self._llm.context is not None and longest > self._llm.context:
            raise ModelError(
                f"query {run.request.query_id!r}: a prompt of {longest} tokens exceeds the model's context "
                f"of {self._llm.context}. Lower block_passages or max_passage_tokens."
            )
        usage = run.cost.usage
        usage.windows = usage.llm_calls = len(run.blocks)
        usage.sequential_calls = 1  # no block waits for another one
        usage.passages_truncated = texts.truncated
        usage.control_tokens = texts.control_tokens

    def _read(self, runs: Sequence[_Run]) -> None:
        """Fill in the vectors of all runs' blocks.

        Blocks of one query with as many passages share a long prefix and go through the model together; all
        single ones form a batch.
        """
        single = []
        for run in runs:
            run.vectors = [torch.empty(0)] * len(run.blocks)
            by_size = sorted(range(len(run.blocks)), key=lambda i: len(run.blocks[i].passages))
            for _, group in groupby(by_size, key=lambda i: len(run.blocks[i].passages)):
                together = [(run, i) for i in group]
                if len(together) == 1:
                    single += together
                else:
                    self._read_together(together)
        if single:
            self._read_together(single)

    def _read_together(self, selections: Sequence[tuple[_Run, int]]) -> None:
        """Fill in the vectors of some blocks, each given by its run and number, from one reading.

        Count the tokens.
        """
        read = self._llm_read([run.blocks[i] for run, i in selections])
        rows = zip(selections, read.states, read.ran_tokens, read.cached_tokens, strict=True)
        for (run, i), states, ran, cached in rows:
            run.vectors[i] = self._projected(states)
            run.cost.usage.prompt_tokens += ran + cached
            run.cost.usage.cached_tokens += cached

    def vectors(self, blocks: Sequence[Block]) -> list[torch.Tensor]:
        """Return the projected vectors of each block: (passages + 1, 512) float32, the query last."""
        return [self._projected(states) for states in self._llm_read(blocks).states]

    def _llm_read(self, blocks: Sequence[Block]) -> Read:
        """Run the model on blocks, and return the hidden states at the ends of their passages and query."""
        return self._llm.read(
            [block.token_ids for block in blocks],
            [[*block.passages, block.query] for block in blocks],
            self._batch_tokens,
        )

    @torch.inference_mode()
    def _projected(self, states: torch.Tensor) -> torch.Tensor:
        """Return the projector's output, (rows, 512), for hidden states (rows, dimension)."""
        projected: torch.Tensor = self._projector(states)
        return projected


def _scores(blocks: Sequence[torch.Tensor]) -> list[float]:
    """Return the score of each passage of all blocks, in order: its cosine with the combined query vector.

    The combined vector is the mean of the blocks' query vectors, weighted by each block's best cosine.

    Args:
        blocks: (passages + 1, 512) each; the last row is the query's.
    """
    weights = torch.stack(
        [(1 + F.cosine_similarity(block[:-1], block[-1:], dim=-1).max()) / 2 for block in blocks]
    )
    queries = torch.stack([block[-1] for block in blocks])
    query = (weights[:, None] * queries).sum(dim=0)  # its length does not matter to a cosine
    passages = torch.cat([block[:-1] for block in blocks])
    scores: list[float] = F.cosine_similarity(passages, query[None], dim=-1).tolist()
    return scores
