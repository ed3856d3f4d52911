"""E2Rank: a listwise prompt is embedded as a query, and compared with the passages' embeddings.

Paper: arXiv 2510.22733. One forward pass over a prompt of the first candidates gives one vector; its cosines
with the embeddings of all candidates are their scores. Passage embeddings do not depend on the query, so
they may come from a store. Deviations from the published script, none of which changes a score in float32:
passages are embedded once and in batches, prompts of several queries are read together, and a text too long
for the model is cut instead of refused. Control tokens in data are read as text, unless the options say
otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from rerankers.encoders.last_token import LastTokenEncoder
from rerankers.encoders.passages import EmbeddingPassages, PassageEmbedder
from rerankers.encoders.store import EmbeddingStore
from rerankers.files.paths import cache_folder
from rerankers.interface import Cost, Ranking, RerankRequest, Usage, count_ties
from rerankers.listwise.e2rank_prompt import PromptWriter, listwise_prompt, shown_text, task_sentence
from rerankers.listwise.windows import RunningPolicy, Window, WindowPlan
from rerankers.llm.causal import network_options
from rerankers.llm.hidden import HiddenLM
from rerankers.models.batching import resolve_batch_tokens
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rerankers.listwise.e2rank_prompt import Prompt
    from rerankers.listwise.windows import Rounds
    from rerankers.methods.listwise.e2rank import E2RankOptions
    from rerankers.stages import StageClock


@dataclass(slots=True)
class _Run:
    """The state of one request while its windows are ranked.

    Attributes:
        request: the request.
        cost: its cost so far.
        policy: gives the windows to rank next.
        vectors: passage embeddings by candidate position, (candidates, dimension).
        scores: by candidate position, of the window in which each was ranked last.
        truncated: positions of the candidates that were cut to fit a prompt.
    """

    request: RerankRequest
    cost: Cost
    policy: RunningPolicy
    vectors: torch.Tensor | None = None
    scores: dict[int, float] = field(default_factory=dict)
    truncated: frozenset[int] = frozenset()


class E2Rank(EmbeddingPassages):
    """A reranker that scores passages by the cosine of their embeddings and that of a listwise prompt.

    The attribute `writer` writes the prompt that is embedded in place of the query.

    Raises:
        InputError: no such folder or device, or options that do not fit.
        ModelError: the model does not load, or its tokenizer is not Qwen3's.
        StoreError: the store holds something else.
    """

    def __init__(self, options: E2RankOptions) -> None:
        self._options = options
        self._windows = WindowPlan(options, options.top)
        self._llm = HiddenLM(
            options.model,
            **network_options(options, options.device),
        )
        self.device = str(self._llm.device)
        self._control = ControlTokens(self._llm.tokenizer, options.control_tokens)
        self._listwise = listwise_prompt(options.prompt, options.instruction)
        self._sentence = options.instruction or task_sentence(options.task or "default")
        self.writer = PromptWriter(
            self._llm.tokenizer,
            options.model,
            self._listwise,
            self._sentence,
            self._control,
            self._llm.context,
        )
        self._batch_tokens = resolve_batch_tokens(options.batch_tokens, self._llm.device)
        self._embedder = self._passage_embedder()
        if options.mode == "listwise":
            self._llm.keep(self.writer.beginning())
        self._described = {**self._llm.describe(), **self.writer.describe()}

    def _passage_embedder(self) -> PassageEmbedder:
        """Return the embedder of passages, which cuts texts as the prompt does.

        With a store if options say so.
        """
        options = self._options
        as_it_is, words = self._listwise.shows_texts_as_they_are, options.passage_words
        self._prepare = partial(shown_text, passage_words=words, as_it_is=as_it_is)
        encoder = LastTokenEncoder(
            self._llm,
            end=self.writer.end,
            prepare=self._prepare,
            max_length=min(options.max_length, self._llm.context or options.max_length),
            control=self._control,
            batch_tokens=self._batch_tokens,
            settings={"passage_words": None if as_it_is else words},
        )
        store = None
        if options.embeds_passages:
            folder = options.store or cache_folder() / "embeddings"
            store = EmbeddingStore(folder, encoder.describe(), encoder.dimension)
        return PassageEmbedder(encoder, store)

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank the requests; the windows that all of them need next go through the model together."""
        runs = [_Run(request, Cost(), RunningPolicy(self._rounds(request))) for request in requests]
        busy = [run for run in runs if run.request.candidates]
        if self._options.embeddings != "per_window":
            self._embed([(run, range(len(run.request.candidates))) for run in busy], clock)
        while active := [run for run in busy if run.policy.windows]:
            self._rank_round(active, clock)
        rankings = []
        for run in runs:
            with clock.stage("order", run.cost):
                usage, count = run.cost.usage, len(run.request.candidates)
                usage.passages_truncated += len(run.truncated)
                # Scores of several windows come from different prompts, and do not compare.
                if usage.windows == 1 and len(run.scores) == count:
                    rankings.append(
                        Ranking.by_score(run.request, [run.scores[i] for i in range(count)], run.cost)
                    )
                else:
                    rankings.append(Ranking.of(run.request, run.policy.order, run.cost))
        return rankings

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the model as loaded, prompt, windows and source of embeddings."""
        return {
            **self._described,
            "mode": self._options.mode,
            "prompt": self._options.prompt,
            "instruction": self._listwise.instruction if self._options.mode == "listwise" else self._sentence,
            "prompt_passages": self._options.prompt_passages,
            **self._options.window_values(),
            "passage_words": self._options.passage_words,
            "embeddings": self._options.embeddings,
            "control_tokens": self._control.mode,
            "batch_tokens": self._batch_tokens,
        }

    def _rounds(self, request: RerankRequest) -> Rounds:
        """Return the window policy of a request.

        A single candidate, or mode `embedding`, gives one window of all.
        """
        count = len(request.candidates)
        if count and (count == 1 or self._options.mode == "embedding"):
            return _all_at_once(count)
        return self._windows.rounds(count, request.query_id)

    def _embed(self, selections: Sequence[tuple[_Run, Sequence[int]]], clock: StageClock) -> None:
        """Embed some candidates of requests into their runs' `vectors`.

        Each different text is embedded once and counted for the first request that has it.

        Args:
            selections: runs, each with the positions of candidates to embed.
            clock: times the stage `embed`.
        """
        row_of: dict[str, int] = {}
        usages: list[Usage] = []
        for run, positions in selections:
            for i in positions:
                text = run.request.candidates[i].text
                if text not in row_of:
                    row_of[text] = len(row_of)
                    usages.append(run.cost.usage)
        if not row_of:
            return
        with clock.stage("embed", *_costs(run for run, _ in selections)):
            vectors = self._embedder.vectors(list(row_of), usages)
            for run, positions in selections:
                rows = [row_of[run.request.candidates[i].text] for i in positions]
                if run.vectors is None:
                    run.vectors = vectors.new_zeros(len(run.request.candidates), vectors.shape[1])
                run.vectors[list(positions)] = vectors[rows]

    def _rank_round(self, runs: Sequence[_Run], clock: StageClock) -> None:
        """Rank the windows that the runs need next, all prompts together, and send each policy its orders."""
        costs = [run.cost for run in runs]
        windows = [(run, window.positions) for run in runs for window in run.policy.windows]
        if self._options.embeddings == "per_window":
            self._embed(windows, clock)
        with clock.stage("prompt", *costs):
            prompts = [self._write(run, positions) for run, positions in windows]
        with clock.stage("forward", *costs):
            last_positions = [[len(prompt.token_ids) - 1] for prompt in prompts]
            read = self._llm.read(
                [prompt.token_ids for prompt in prompts], last_positions, self._batch_tokens
            )
            states = zip(windows, read.states, strict=True)
            scores = [self._scores(run, positions, state[0]) for (run, positions), state in states]
        for (run, _), ran, cached, prompt in zip(
            windows, read.ran_tokens, read.cached_tokens, prompts, strict=True
        ):
            usage = run.cost.usage
            usage.windows += 1
            usage.llm_calls += 1
            usage.prompt_tokens += ran + cached
            usage.cached_tokens += cached
            usage.control_tokens += prompt.control_tokens
        remaining = iter(scores)
        for run in runs:
            with clock.stage("order", run.cost):
                run.cost.usage.sequential_calls += 1
                run.policy.send(
                    [_ordered(run, window.positions, next(remaining)) for window in run.policy.windows]
                )

    def _write(self, run: _Run, positions: Sequence[int]) -> Prompt:
        """Return the prompt for a window of candidates, by position.

        In mode `embedding`, that of the query alone.
        """
        if self._options.mode == "embedding":
            return self.writer.alone(run.request.query)
        prompt_positions = positions[: self._options.prompt_passages]
        texts = [self._prepare(run.request.candidates[i].text) for i in prompt_positions]
        prompt = self.writer.listwise(run.request.query, [text for text, _ in texts])
        run.truncated |= {prompt_positions[i] for i in prompt.cut}
        return prompt

    def _scores(self, run: _Run, positions: Sequence[int], state: torch.Tensor) -> list[float]:
        """Return the cosine of the prompt's vector with the embedding of each candidate at `positions`.

        Equal texts score equal to the last bit, which a product of all rows would not promise.

        Args:
            run: of the request.
            positions: of the candidates.
            state: the prompt's last hidden state, (dimension,).
        """
        assert run.vectors is not None  # noqa: S101 - embedded before
        texts = [run.request.candidates[i].text for i in positions]
        row_of = dict(zip(texts, positions, strict=True))
        products = run.vectors[list(row_of.values())] @ F.normalize(state, dim=-1)
        cosines = dict(zip(row_of, products.tolist(), strict=True))
        return [cosines[text] for text in texts]


def _all_at_once(count: int) -> Rounds:
    """Return a window policy that ranks all candidates in one window, even if there is only one of them."""
    [order] = yield [Window(list(range(count)), count)]
    return list(order)


def _ordered(run: _Run, positions: Sequence[int], scores: Sequence[float]) -> list[int]:
    """Return a window's candidate positions by score, best first, equal scores in their order.

    Keep the scores.
    """
    run.scores |= zip(positions, scores, strict=True)
    order = sorted(positions, key=lambda i: -run.scores[i])
    run.cost.usage.ties = count_ties([run.scores[i] for i in order])  # the last window is the head
    return order


def _costs(runs: Iterable[_Run]) -> list[Cost]:
    """Return the cost of each run, each once although a run may occur several times."""
    return list({id(run): run.cost for run in runs}.values())
