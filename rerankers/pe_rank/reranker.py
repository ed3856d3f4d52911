"""PE-Rank: an LLM orders passages that it reads as one embedding each (arXiv 2406.14848, WWW 2025).

Windows slide from the tail of the list to its head as in RankGPT; in each, the LLM chooses the best passage,
then the best of the rest, and so on. Deviations from the published code, none of which changes a ranking: see
`decoding`, `speculative` and `depth`; and the head of the list is always compared
(`rerankers.listwise.windows`).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from rerankers.encoders.passages import EmbeddingPassages, PassageEmbedder
from rerankers.encoders.store import EmbeddingStore
from rerankers.errors import ModelError
from rerankers.interface import Cost, Ranking, RerankRequest
from rerankers.listwise.windows import initial_order
from rerankers.llm.static.buckets import BucketBuffers
from rerankers.models.locate import cache_folder
from rerankers.pe_rank.depth import lossless_depths
from rerankers.pe_rank.formats.checkpoint import Source, load_checkpoint
from rerankers.pe_rank.look_ahead.ranking import rank_ahead
from rerankers.pe_rank.look_ahead.sliding_query import SlidingWindow
from rerankers.pe_rank.query_batch import QueryBatch
from rerankers.pe_rank.rounds import rank_in_rounds
from rerankers.pe_rank.speculative import DraftPolicy, free_tokens_of
from rerankers.pe_rank.window_pass import WindowPass
from rerankers.pe_rank.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rerankers.methods.pe_rank import PERankOptions
    from rerankers.pe_rank.decoding import WindowDecoder
    from rerankers.pe_rank.model import PassageLLM
    from rerankers.stages import StageClock


class PERank(EmbeddingPassages):
    """A reranker whose LLM orders windows of passages, each read as one embedding."""

    def __init__(self, options: PERankOptions) -> None:
        self._options = options
        source = Source(
            options.model,
            options.revision,
            options.encoder,
            options.encoder_revision,
            options.pooling,
            options.projector,
            options.allow_encoder_swap,
            options.control_tokens,
            options.encoder_backend,
        )
        self._checkpoint = load_checkpoint(
            source, dtype=options.dtype, device=options.device, attention=options.attention
        )
        self._llm = self._checkpoint.llm
        self._passes = _choose_passes(self._llm, options)
        self._encoder = self._checkpoint.encoder
        if options.max_length is not None:
            self._encoder.shorten(options.max_length)
        self.device = str(self._llm.device)
        store = None
        if options.embeds_passages:
            folder = options.store or cache_folder() / "embeddings"
            store = EmbeddingStore(folder, self._encoder.describe(), self._encoder.dimension)
        self._embedder = PassageEmbedder(self._encoder, store)
        self._workers = Workers(self._llm)
        self._plan = options.plan
        self._windows = WindowPass(self._llm, self._embedder, options)
        given = options.free_tokens
        self._free_tokens = free_tokens_of(self._llm.device) if given is None else given
        # Padded rows need a mask, which flash attention does not take.
        is_single = options.exact or options.attention == "flash_attention_2"
        self._batch_size = 1 if is_single else options.batch_size

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Return a ranking of each request; requests with equal numbers of candidates run in batches."""
        rankings: dict[int, Ranking] = {}
        how, seed = self._options.initial_order, self._options.seed
        firsts = [initial_order(len(each.candidates), how, seed, each.query_id) for each in requests]
        for rows in self._batches(requests):
            group = [_reordered(requests[row], firsts[row]) for row in rows]
            costs = [Cost() for _ in group]
            orders = self._orders(group, costs, clock)
            with clock.stage("order", *costs):
                for row, request, order, cost in zip(rows, group, orders, costs, strict=True):
                    rankings[row] = Ranking.of(request, order, cost)
        return [rankings[row] for row in range(len(requests))]

    def end_warm_up(self) -> None:
        """Capture no forward passes from now on."""
        if self._llm.captured is not None:
            self._llm.captured.close()

    def describe(self) -> dict[str, object]:
        """Return the record's entry: checkpoint, encoder, windows, source of embeddings, precision.

        It has a notice if tables have to show one.
        """
        precision = self._encoder.precision
        return {
            **self._checkpoint.described,
            "encoder": {
                **self._encoder.describe(),
                **({"largest_difference": precision.difference} if precision else {}),
            },
            "window": self._options.window,
            "step": self._options.step,
            "window_policy": self._options.window_policy,
            "initial_order": self._options.initial_order,
            "top_k": self._options.top_k,
            "text": self._options.text,
            "control_tokens": self._llm.writer.control_tokens,
            "embeddings": self._options.embeddings,
            "draft": self._options.draft,
            "free_tokens": self._free_tokens,
            "forward_passes": self._passes_that_run(),
            "batch_size": self._batch_size,
            "exact": self._options.exact,
            "dtype": str(self._llm.dtype).removeprefix("torch."),
            "attention": self._llm.attention,
            "device": self.device,
            **({"notice": self._checkpoint.notice} if self._checkpoint.notice else {}),
        }

    def _passes_that_run(self) -> str:
        """Return the kind of forward passes; where capturing failed, `static` with the reason."""
        captured = self._llm.captured
        if captured is None or captured.failure is None:
            return self._passes
        return f"static: {captured.failure}"

    def _batches(self, requests: Sequence[RerankRequest]) -> Iterator[list[int]]:
        """Yield the positions of requests with equal numbers of candidates, at most `batch_size` at a time.

        Queries of similar length share a batch, for little padding.
        """
        by_count: dict[int, list[int]] = {}
        for row in sorted(range(len(requests)), key=lambda row: len(requests[row].query)):
            by_count.setdefault(len(requests[row].candidates), []).append(row)
        for rows in by_count.values():
            for start in range(0, len(rows), self._batch_size):
                yield rows[start : start + self._batch_size]

    def _orders(
        self, requests: Sequence[RerankRequest], costs: Sequence[Cost], clock: StageClock
    ) -> list[list[int]]:
        """Return the candidate positions of each request, best first; all have equal numbers of candidates.

        They are divided between the threads.
        """
        workers = self._workers.number(len(requests))
        bounds = [len(requests) * part // workers for part in range(workers + 1)]
        parts = [
            (requests[start:end], costs[start:end], clock.for_one_of(workers))
            for start, end in pairwise(bounds)
        ]
        return [order for orders in self._workers.map(self._orders_of_part, parts) for order in orders]

    def _orders_of_part(
        self, part: tuple[Sequence[RerankRequest], Sequence[Cost], StageClock], decoder: WindowDecoder
    ) -> list[list[int]]:
        """Return the candidate positions, best first, of each request that one thread ranks.

        Args:
            part: the requests, their costs, and a clock.
            decoder: of the thread.
        """
        requests, costs, clock = part
        before = _passes_so_far(decoder)
        orders = self._ranked_orders(requests, costs, clock, decoder)
        captured, uncaptured = (now - then for now, then in zip(_passes_so_far(decoder), before, strict=True))
        for cost in costs:  # they share the passes
            cost.usage.captured_passes += captured
            cost.usage.uncaptured_passes += uncaptured
        return orders

    def _ranked_orders(
        self,
        requests: Sequence[RerankRequest],
        costs: Sequence[Cost],
        clock: StageClock,
        decoder: WindowDecoder,
    ) -> list[list[int]]:
        """Return the candidate positions, best first, of each request, ranked together by one decoder."""
        run = QueryBatch(requests, costs, clock, decoder, DraftPolicy(self._options.draft, self._free_tokens))
        count = len(requests[0].candidates)
        if self._options.embeddings != "per_window" and count > 1:
            run.projected = self._windows.projected(run, [list(range(count))] * len(requests))
        if not self._options.slides:
            return rank_in_rounds(run, self._plan, self._batch_size, self._windows.rank)
        plan = self._plan.sliding(count)
        depths = zip(plan, lossless_depths(plan, self._options.top_k), strict=True)
        windows = [SlidingWindow(*bounds, min(d, bounds[1] - bounds[0] - 1)) for bounds, d in depths if d]
        tree, looks_ahead = (
            decoder.tree,
            self._options.may_look_ahead and run.policy.looks_ahead(len(requests)),
        )
        if looks_ahead and windows and tree is not None and run.projected is not None:
            return [rank_ahead(run, run.projected[0], tree, self._llm.writer, windows, self._free_tokens)]
        self._slide(run, windows)
        with clock.stage("order", *costs):
            return run.order.tolist()

    def _slide(self, run: QueryBatch, windows: Sequence[SlidingWindow]) -> None:
        """Rank sliding windows one after the other, and update the order of the batch.

        Args:
            run: the queries.
            windows: tail first, each decoded as far as the top k of the final list depends on it.
        """
        for start, end, depth in windows:
            run.order[:, start:end] = self._windows.rank(run, run.order[:, start:end], depth)
            for cost in run.costs:
                cost.usage.sequential_calls += 1


def _choose_passes(llm: PassageLLM, options: PERankOptions) -> str:
    """Set the kind of forward passes that the options name, and return it.

    Where another kind than the one asked for runs, the reason follows after a colon.

    Raises:
        ModelError: the options ask for static passes that the model does not support.
    """
    if options.exact or options.forward_passes == "eager":
        return "eager"
    reason = llm.use_static_passes()
    if reason is not None and options.forward_passes != "auto":
        raise ModelError(f"{options.model!r} has no static passes: {reason}. Use 'forward_passes: auto'.")
    if reason is not None:
        return f"eager: {reason}"
    mode = options.forward_passes
    if mode == "auto":
        mode = "graphs" if llm.device.type == "cuda" else "static"
    if mode not in ("graphs", "compiled"):
        return mode
    reason = llm.capture_passes(mode)
    return mode if reason is None else f"static: {reason}"


def _passes_so_far(decoder: WindowDecoder) -> tuple[int, int]:
    """Return how many passes of a decoder ran captured, and how many did not although passes are captured."""
    caches = [decoder.cache] if decoder.tree is None else [decoder.cache, decoder.tree.cache]
    in_buckets = [cache for cache in caches if isinstance(cache, BucketBuffers)]
    return sum(cache.captured for cache in in_buckets), sum(cache.uncaptured for cache in in_buckets)


def _reordered(request: RerankRequest, order: Sequence[int]) -> RerankRequest:
    """Return the request with its candidates in another order, given as candidate positions."""
    return replace(request, candidates=tuple(request.candidates[i] for i in order))
