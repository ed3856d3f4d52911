"""Rank1: a reasoning model thinks about each passage, then says true or false (arXiv 2502.18418).

The score is the difference of the logits of ` true` and ` false` where the model ends its thoughts. The
published score, p(true) / (p(true) + p(false)), is its sigmoid: the same order, without the ties of values
near 0 and 1. Thoughts that take more than their budget are ended as in the published code: cut after the last
sentence, closed, and followed by one of the two tokens.

Where the published code reads the 20 most probable tokens that its engine reports, all logits are at hand
here. They are restricted in the same way for the last token that was generated, so that the same thoughts are
ended by force. Prompts are read and thoughts written in batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rerankers.errors import ModelError
from rerankers.interface import Cost, Ranking, Reranker
from rerankers.llm.causal import CausalLM
from rerankers.llm.readout import check_offsets, cut_to_tokens
from rerankers.pointwise.prompts import ReasoningPrompt, fill, prompt_named
from rerankers.pointwise.thoughts import ThoughtWriter
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.interface import RerankRequest
    from rerankers.methods.pointwise.rank1 import Rank1Options
    from rerankers.pointwise.thoughts import Verdict
    from rerankers.stages import StageClock

_QUERY = "FILL_QUERY_HERE"  # stands for the query in the data sets' prompts that Rank1 publishes
_ROOM_TO_END = 16  # tokens around thoughts that are ended by force


@dataclass(slots=True)
class _Pair:
    """A tokenised prompt with the cost of the request that pays for it: the first one that has the pair."""

    prompt: str
    token_ids: list[int]
    owner: Cost
    is_truncated: bool
    control_tokens: int
    verdict: Verdict | None = None


class Rank1(Reranker):
    """A reranker that scores each passage by a reasoning model's logits of `true` and `false` after its
    thoughts.

    Raises:
        ModelError: the model does not load, begins both answers with one token, or its context does not hold
            a prompt and the thoughts.
    """

    scores_passages_alone = True

    def __init__(self, options: Rank1Options) -> None:
        self._template = prompt_named(ReasoningPrompt, "published")
        self._llm = CausalLM.of(options, decodes=True)
        check_offsets(self._llm.tokenizer)
        self._writer = ThoughtWriter(self._llm, self._template, options.reasoning_tokens, options.model)
        self._options = options
        self._control = ControlTokens(self._llm.tokenizer, options.control_tokens)
        self._batch_size = options.batch_size if self._llm.exactness.decodes else 1
        self._described = {**self._llm.describe(), **self._llm.exactness.describe("shares", "decodes")}
        config = self._llm.model.config.get_text_config()
        context = getattr(config, "max_position_embeddings", None)
        self._longest = None if context is None else context - options.reasoning_tokens - _ROOM_TO_END
        if self._longest is not None and self._longest < 1:
            raise ModelError(
                f"{options.model!r} reads {context} tokens, which thoughts of {options.reasoning_tokens} do "
                "not fit into. Lower reasoning_tokens."
            )
        self.device = str(self._llm.device)

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Return a ranking of each request by score, highest first; equal scores keep the first-stage order.

        All requests share batches.
        """
        costs = [Cost() for _ in requests]
        busy = [cost for cost, request in zip(costs, requests, strict=True) if request.candidates]
        pairs: dict[tuple[str, str, str | None], _Pair] = {}
        if busy:
            with clock.stage("prompt", *busy):
                pairs = self._pairs(requests, costs)
            self._judge(
                list({tuple(pair.token_ids): pair for pair in reversed(pairs.values())}.values()), clock
            )
            by_tokens = {tuple(pair.token_ids): pair.verdict for pair in pairs.values() if pair.verdict}
        rankings = []
        for request, cost in zip(requests, costs, strict=True):
            with clock.stage("order", cost):
                request_pairs = [
                    pairs[request.query, candidate.text, request.instruction]
                    for candidate in request.candidates
                ]
                cost.usage.passages_truncated = sum(pair.is_truncated for pair in request_pairs)
                cost.usage.control_tokens = sum(
                    {id(pair): pair.control_tokens for pair in request_pairs}.values()
                )
                verdicts = [
                    verdict for pair in request_pairs if (verdict := by_tokens[tuple(pair.token_ids)])
                ]
                cost.usage.sequential_calls = bool(request_pairs) + any(
                    verdict.is_forced for verdict in verdicts
                )
                rankings.append(Ranking.by_score(request, [verdict.score for verdict in verdicts], cost))
        return rankings

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the model as loaded, the prompt's source, and the limits."""
        return {
            **self._described,
            "prompt_source": self._template.source,
            "reasoning_tokens": self._options.reasoning_tokens,
            "max_passage_tokens": self._options.max_passage_tokens,
            "instruction": self._options.instruction,
            "query_prompt": self._options.query_prompt,
            "control_tokens": self._control.mode,
            "batch_size": self._batch_size,
        }

    def prompt(self, query: str, passage: str, instruction: str | None = None) -> str:
        """Return the prompt of a query and a passage as text, up to where the thoughts begin.

        The option `instruction` comes before the query's own instruction.
        """
        if self._options.query_prompt is not None:
            query = self._options.query_prompt.replace(_QUERY, query)
        instruction = self._options.instruction if self._options.instruction is not None else instruction
        if instruction:
            query = f"{query} {instruction}"
        return fill(self._template.text, query=query, passage=passage)

    def _pairs(
        self, requests: Sequence[RerankRequest], costs: Sequence[Cost]
    ) -> dict[tuple[str, str, str | None], _Pair]:
        """Return each different pair of query and passage, tokenised, by query, passage and instruction.

        Args:
            requests: the requests.
            costs: one for each request.
        """
        owners = {
            (request.query, candidate.text, request.instruction): cost
            for request, cost in zip(reversed(requests), reversed(costs), strict=True)
            for candidate in reversed(request.candidates)
        }
        keys = list(reversed(owners))
        queries, in_queries = self._control.read([query for query, _, _ in keys])
        passages, in_passages = self._control.read([passage for _, passage, _ in keys])
        texts, truncated = list(passages), [False] * len(keys)
        if self._options.max_passage_tokens is not None:
            texts, truncated = cut_to_tokens(self._llm.tokenizer, passages, self._options.max_passage_tokens)
        prompts = [
            self.prompt(query, passage, instruction)
            for query, passage, (_, _, instruction) in zip(queries, texts, keys, strict=True)
        ]
        rows = self._llm.tokenizer(prompts, verbose=False)["input_ids"]
        pairs = {}
        for i, key in enumerate(keys):
            if self._longest is not None and len(rows[i]) > self._longest:
                prompts[i], rows[i] = self._shortened(queries[i], texts[i], key[2], len(rows[i]))
                truncated[i] = True
            control_tokens = in_queries[i] + in_passages[i]
            pairs[key] = _Pair(prompts[i], rows[i], owners[key], truncated[i], control_tokens)
        return pairs

    def _shortened(
        self, query: str, passage: str, instruction: str | None, length: int
    ) -> tuple[str, list[int]]:
        """Return a prompt, as text and token ids, whose passage is cut so that prompt and thoughts fit the
        context.

        Args:
            query: the query's text.
            passage: the text to cut.
            instruction: the query's own instruction, if any.
            length: tokens of the prompt with the whole passage.

        Raises:
            ModelError: not even a prompt without a passage leaves room for the thoughts.
        """
        tokenizer, longest = self._llm.tokenizer, self._longest or 0
        room = len(tokenizer(passage, add_special_tokens=False, verbose=False)["input_ids"])
        while length > longest:
            room = room - (length - longest)
            if room < 1:
                raise ModelError(
                    f"a prompt of {length} tokens and thoughts of {self._options.reasoning_tokens} exceed "
                    "the model's context. Lower reasoning_tokens."
                )
            [passage], _ = cut_to_tokens(tokenizer, [passage], room)
            prompt = self.prompt(query, passage, instruction)
            row: list[int] = tokenizer(prompt, verbose=False)["input_ids"]
            length = len(row)
        return prompt, row

    def _judge(self, pairs: Sequence[_Pair], clock: StageClock) -> None:
        """Write thoughts for all pairs in batches, and set the verdict of each.

        Pairs of one request and of similar lengths share a batch.
        """
        order = {id(pair.owner): place for place, pair in enumerate(pairs)}
        by_length = sorted(pairs, key=lambda pair: (order[id(pair.owner)], len(pair.token_ids)))
        for start in range(0, len(by_length), self._batch_size):
            batch = by_length[start : start + self._batch_size]
            verdicts = self._writer.judge(
                [pair.prompt for pair in batch],
                [pair.token_ids for pair in batch],
                [pair.owner for pair in batch],
                clock,
            )
            for pair, verdict in zip(batch, verdicts, strict=True):
                pair.verdict = verdict
