"""The base of fusion-in-decoder rerankers: the model reads windows of prompts and writes an answer for each.

A method defines a passage's prompt, the windows it wants, and how an answer is read. Windows that do
not depend on each other, of all requests, share batches of the decoder. The encoder's states of a prompt are
kept as long as its query is ranked: a prompt that comes again, because a passage stands at the same number of
a later window, is not read again.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from rerankers.interface import Cost, Ranking, Reranker, RerankRequest
from rerankers.listwise.fusion_in_decoder.network import FusionInDecoder
from rerankers.listwise.windows import RunningPolicy
from rerankers.llm.causal import network_options
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from rerankers.interface import Usage
    from rerankers.listwise.fusion_in_decoder.network import Prompt
    from rerankers.listwise.windows import Rounds, Window
    from rerankers.methods.listwise.listt5 import ListT5Options
    from rerankers.methods.listwise.lit5 import LiT5Options
    from rerankers.stages import StageClock


class _Query:
    """The state of one request while its windows are ranked.

    `query` and `passages` are the texts for the tokenizer; `states` holds the encoder's states by prompt.
    """

    def __init__(self, request: RerankRequest, query: str, passages: Sequence[str], rounds: Rounds) -> None:
        self.request = request
        self.query = query
        self.passages = passages
        self.cost = Cost()
        self.truncated: set[int] = set()
        self.states: dict[Prompt, torch.Tensor] = {}
        self.policy = RunningPolicy(rounds)


class _Call(NamedTuple):
    """One window of a query, with a prompt for each of its passages."""

    query: _Query
    window: Window
    prompts: list[Prompt]


class FusionInDecoderReranker(Reranker):
    """A listwise reranker that reads the order of a window from the answer a fusion-in-decoder T5 writes.

    Args:
        options: the method's options; the network is loaded from them.
        source: repository and file of the published prompt, for the record.
        renamed: names of weights that the published class writes, as patterns with their replacements.

    Raises:
        ModelError: the model does not load, or is not a T5.
    """

    def __init__(
        self, options: LiT5Options | ListT5Options, source: str, renamed: Mapping[str, str] | None = None
    ) -> None:
        self.network = FusionInDecoder(
            options.model,
            batch_tokens=options.batch_tokens,
            renamed=renamed,
            **network_options(options, options.device),
        )
        self.device = self.network.device
        self._control = ControlTokens(self.network.tokenizer, options.control_tokens)
        self._max_prompt_tokens = options.max_prompt_tokens
        self._batch_size = options.batch_size
        self._source = source

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the model as loaded, the limits, and the source of the prompt."""
        return {
            **self.network.describe(),
            "max_prompt_tokens": self._max_prompt_tokens,
            "control_tokens": self._control.mode,
            "prompt_source": self._source,
        }

    @abstractmethod
    def prompt(self, query: str, number: int, passage: str) -> str:
        """Return the prompt of one passage as text; `number` (from 1) is its place in the window."""

    @abstractmethod
    def rounds(self, count: int, query_id: str) -> Rounds:
        """Return the window policy for `count` candidates of a query."""

    @abstractmethod
    def longest_answer(self, count: int) -> int:
        """Return the most tokens that an answer for `count` passages may have."""

    @abstractmethod
    def is_over(self, window: Window, text: str) -> bool:
        """Return whether an answer can end after `text`, because the ranks read cannot change."""

    @abstractmethod
    def read(self, window: Window, text: str, usage: Usage, *, is_cut: bool) -> list[int]:
        """Return a window's candidate positions in the order that an answer gives; count its faults.

        `is_cut` says that the answer ended at its limit of tokens.
        """

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank the requests, `batch_size` of them at a time."""
        size = self._batch_size
        chunks = (requests[start : start + size] for start in range(0, len(requests), size))
        return [ranking for chunk in chunks for ranking in self._rerank(chunk, clock)]

    def _rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank some requests side by side: the windows that all of them need next share batches."""
        queries = [self._start(request, clock) for request in requests]
        while active := [query for query in queries if query.policy.windows]:
            calls = [self._call(query, window, clock) for query in active for window in query.policy.windows]
            size = self._batch_size
            batches = (calls[start : start + size] for start in range(0, len(calls), size))
            orders = iter([order for batch in batches for order in self._orders(batch, clock)])
            for query in active:
                with clock.stage("order", query.cost):
                    query.cost.usage.sequential_calls += 1
                    query.policy.send([next(orders) for _ in query.policy.windows])
        rankings = []
        for query in queries:
            with clock.stage("order", query.cost):
                query.cost.usage.passages_truncated = len(query.truncated)
                rankings.append(Ranking.of(query.request, query.policy.order, query.cost))
        return rankings

    def _start(self, request: RerankRequest, clock: StageClock) -> _Query:
        """Return the state of a request at its start, control tokens read as the options say."""
        cost = Cost()
        with clock.stage("prompt", cost):
            texts = [request.query, *(candidate.text for candidate in request.candidates)]
            [query, *passages], control_tokens = self._control.read(texts)
            cost.usage.control_tokens = sum(control_tokens)
            running = _Query(request, query, passages, self.rounds(len(passages), request.query_id))
        running.cost = cost
        return running

    def _call(self, query: _Query, window: Window, clock: StageClock) -> _Call:
        """Return a window with its passages' prompts as token ids, and count tokens and cut passages."""
        usage = query.cost.usage
        with clock.stage("prompt", query.cost):
            numbered = enumerate(window.positions, 1)
            texts = [self.prompt(query.query, number, query.passages[i]) for number, i in numbered]
            prompts, are_cut = self.network.prompts(texts, self._max_prompt_tokens)
            query.truncated.update(i for i, is_cut in zip(window.positions, are_cut, strict=True) if is_cut)
            usage.prompt_tokens += sum(map(len, prompts))
            usage.windows += 1
            usage.llm_calls += 1
        return _Call(query, window, prompts)

    def _orders(self, calls: Sequence[_Call], clock: StageClock) -> list[list[int]]:
        """Encode a batch of windows, decode an answer for each, and return the orders they give."""
        queries = list(dict.fromkeys(call.query for call in calls))
        costs = [query.cost for query in queries]
        with clock.stage("prefill", *costs):
            self._encode(calls, queries)
        with clock.stage("decode", *costs):
            limits = [self.longest_answer(len(call.prompts)) for call in calls]
            answers, steps = self.network.decode(
                [[call.query.states[prompt] for prompt in call.prompts] for call in calls],
                limits,
                lambda number, tokens: self.is_over(calls[number].window, self.network.text(tokens)),
            )
        for cost in costs:
            cost.usage.decode_steps += steps
        orders = []
        for call, tokens, limit in zip(calls, answers, limits, strict=True):
            usage = call.query.cost.usage
            with clock.stage("parse", call.query.cost):
                usage.generated_tokens += len(tokens)
                text = self.network.text(tokens)
                orders.append(self.read(call.window, text, usage, is_cut=len(tokens) == limit))
        return orders

    def _encode(self, calls: Sequence[_Call], queries: Sequence[_Query]) -> None:
        """Run the encoder on a batch's new prompts, and keep their states with each query."""
        states = {prompt: state for query in queries for prompt, state in query.states.items()}
        for call in calls:
            cached_tokens = sum(len(prompt) for prompt in call.prompts if prompt in call.query.states)
            call.query.cost.usage.cached_tokens += cached_tokens
        self.network.encode([prompt for call in calls for prompt in call.prompts], states)
        for call in calls:
            call.query.states.update((prompt, states[prompt]) for prompt in call.prompts)
