"""PE-Rank: an LLM orders passages that it reads as one embedding each (arXiv 2406.14848, WWW 2025).

Windows slide from the tail of the list to its head as in RankGPT; in each, the LLM places the best passage,
then the best of the rest, and so on. Deviations from the published code, none of which changes an answer: see
`decoding`, `drafting` and `depth`; and the head of the list is always compared
(`rerankers.listwise.windows`).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field, validate_call

from rerankers.encoders.passages import EmbeddingMode, PassageEmbedder
from rerankers.encoders.store import EmbeddingStore
from rerankers.encoders.transfer import to_device
from rerankers.interface import Capabilities, Cost, Ranking, Reranker, RerankRequest
from rerankers.listwise.windows import (
    WindowOptions,
    WindowPlan,
    check_windows,
    initial_order,
    is_sliding,
)
from rerankers.models.devices import AttentionName, DtypeName
from rerankers.models.locate import cache_folder
from rerankers.pe_rank.depth import lossless_depths
from rerankers.pe_rank.formats.checkpoint import PoolingName, Source, load_checkpoint
from rerankers.pe_rank.formats.compact import referenced_models
from rerankers.pe_rank.greedy import plain_order
from rerankers.pe_rank.query_batch import QueryBatch, lead_with
from rerankers.pe_rank.rounds import rank_in_rounds
from rerankers.pe_rank.speculative import DraftMode, DraftPolicy, draft_and_verify
from rerankers.pe_rank.workers import Workers
from rerankers.text.control_tokens import ControlTokenMode
from rerankers.text.words import split_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rerankers.pe_rank.decoding import WindowDecoder
    from rerankers.pe_rank.prompt import Prompt
    from rerankers.stages import StageClock

_WINDOWS = WindowOptions()
_TEXT_WORDS = 300  # where passages' text is in the prompt, it is cut as RankGPT cuts it


class PERank(Reranker):
    """Orders candidates by windows of passage embeddings.

    Args:
        model: a PE-Rank checkpoint in any form, or a plain language model; see `checkpoint`.
        revision: its hub revision.
        encoder: embedding model; None is the checkpoint's own. A plain language model needs it.
        encoder_revision: the encoder's hub revision.
        pooling: the encoder's pooling; `auto` is the checkpoint's, else the encoder's own.
        max_length: passages are cut after this many of the encoder's tokens; None for as many as it takes.
        projector: `projector.bin`, `projector.safetensors` or a folder, for a plain language model; without
            it the projector is random and the result is labelled untrained.
        allow_encoder_swap: run with an encoder that is not the projector's own; the result is labelled.
        windows: which passages the windows show; in experiment files these options stand beside the others.
        top_k: how many places of the final list have to be right; the rest is not decoded as far as that
            changes none of them (`depth`). None for all.
        text: put the passages' text into the prompt beside their embeddings.
        embeddings: `per_query` embeds each passage once a query, `precomputed` takes it from the store, and
            `per_window` embeds it in every window, as the published code does. The answers are the same.
        store: folder of the embedding stores; None is the cache folder.
        draft: draft and verify several places a pass (`drafting`), place one a pass, or whatever is cheaper.
        control_tokens: how control tokens in queries and passages are read: as `text`, or as `control` tokens
            as in the published code; see `rerankers.text.control_tokens`.
        batch_size: most queries whose windows are run in one batch, if they come in one call.
        dtype: of all weights; `auto` is bfloat16 on CUDA, float32 on a CPU.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        attention: transformers' attention implementation; `auto` lets transformers choose.
        exact: one window at a time, one place a pass, nothing reused: in half precision, where kernels round
            by shape, this is the plain greedy answer. In float32 it changes nothing but the time.
    """

    @validate_call
    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        encoder: str | None = None,
        encoder_revision: str | None = None,
        pooling: PoolingName = "auto",
        max_length: int | None = Field(default=None, ge=8),
        projector: Path | None = None,
        allow_encoder_swap: bool = False,
        windows: WindowOptions = _WINDOWS,
        top_k: int | None = Field(default=None, ge=1),
        text: bool = False,
        embeddings: EmbeddingMode = "per_query",
        store: Path | None = None,
        draft: DraftMode = "auto",
        control_tokens: ControlTokenMode = "text",
        batch_size: int = Field(default=16, ge=1),
        dtype: DtypeName = "auto",
        device: str = "auto",
        attention: AttentionName = "auto",
        exact: bool = False,
    ) -> None:
        self.check_options(dict(windows))
        source = Source(
            model, revision, encoder, encoder_revision, pooling, projector, allow_encoder_swap, control_tokens
        )
        self._checkpoint = load_checkpoint(source, dtype=dtype, device=device, attention=attention)
        self._llm = self._checkpoint.llm
        self._encoder = self._checkpoint.encoder
        if max_length is not None:
            self._encoder.shorten(max_length)
        self.device = str(self._llm.device)
        kept = None
        if embeddings == "precomputed":
            meta = self._encoder.describe()
            kept = EmbeddingStore(store or cache_folder() / "embeddings", meta, self._encoder.dimension)
        self._embedder = PassageEmbedder(self._encoder, kept)
        self._workers = Workers(self._llm)
        self._windows, self._top_k = windows, top_k
        # Candidates are put into their initial order before any window is made.
        self._plan = WindowPlan(windows.model_copy(update={"initial_order": "given"}), top_k)
        self._text, self._embeddings, self._draft, self._exact = text, embeddings, draft, exact
        # padded rows need a mask, which flash attention does not take
        self._batch_size = 1 if exact or attention == "flash_attention_2" else batch_size

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse window options that do not fit each other."""
        check_windows(options)

    @classmethod
    def capabilities(cls, options: Mapping[str, Any]) -> Capabilities:
        """Tell which models are loaded: the checkpoint, and the ones that a local checkpoint refers to."""
        models = {options["model"]: options["revision"], **referenced_models(options["model"])}
        if options["encoder"] is not None:
            models[options["encoder"]] = options["encoder_revision"]
        is_stored = options["embeddings"] == "precomputed"
        return Capabilities(models=tuple(models.items()), embeds_passages=is_stored)

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank each request; requests with as many candidates as each other run in batches."""
        rankings: dict[int, Ranking] = {}
        how, seed = self._windows.initial_order, self._windows.seed
        firsts = [initial_order(len(each.candidates), how, seed, each.query_id) for each in requests]
        for rows in self._batches(requests):
            group = [_reordered(requests[row], firsts[row]) for row in rows]
            costs = [Cost() for _ in group]
            orders = self._orders(group, costs, clock)
            with clock.stage("order", *costs):
                for row, request, order, cost in zip(rows, group, orders, costs, strict=True):
                    rankings[row] = Ranking.of(request, order, cost)
        return [rankings[row] for row in range(len(requests))]

    def stores(self) -> Sequence[EmbeddingStore]:
        """Return the embedding store, if there is one."""
        return self._embedder.stores

    def prepare(self, requests: Sequence[RerankRequest]) -> None:
        """Embed the candidates' passages into the store, if there is one: before queries are timed."""
        self._embedder.fill_store(requests)

    def describe(self) -> dict[str, object]:
        """Checkpoint, encoder, windows, embedding mode, precision; a notice if the result needs one."""
        return {
            **self._checkpoint.described,
            "encoder": self._encoder.describe(),
            "window": self._windows.window,
            "step": self._windows.step,
            "window_policy": self._windows.window_policy,
            "initial_order": self._windows.initial_order,
            "top_k": self._top_k,
            "text": self._text,
            "control_tokens": self._llm.writer.control_tokens,
            "embeddings": self._embeddings,
            "draft": self._draft,
            "batch_size": self._batch_size,
            "exact": self._exact,
            "dtype": str(self._llm.dtype).removeprefix("torch."),
            "attention": self._llm.attention,
            "device": self.device,
            **({"notice": self._checkpoint.notice} if self._checkpoint.notice else {}),
        }

    def _batches(self, requests: Sequence[RerankRequest]) -> Iterator[list[int]]:
        """Yield requests with equal numbers of candidates, `batch_size` at a time;
        like lengths need no padding.
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
        """Candidate positions, best first, of requests with equal numbers of candidates."""
        count = len(requests[0].candidates)
        workers = self._workers.number(len(requests))
        bounds = [len(requests) * part // workers for part in range(workers + 1)]
        parts = [slice(*ends) for ends in pairwise(bounds)]

        def rank(part: slice, decoder: WindowDecoder) -> list[list[int]]:
            policy = DraftPolicy(self._draft, self._llm.device)
            run = QueryBatch(requests[part], costs[part], clock.for_one_of(workers), decoder, policy)
            if self._embeddings != "per_window" and count > 1:
                every = [list(range(count))] * len(run.requests)
                run.projected = self._projected(run.requests, run.costs, run.clock, every)
            if not is_sliding(dict(self._windows)):
                return rank_in_rounds(run, self._plan, self._batch_size, self._ranked)
            self._slide(run, self._plan.sliding(count))
            with run.clock.stage("order", *run.costs):
                return run.order.tolist()

        return [order for orders in self._workers.map(rank, parts) for order in orders]

    def _slide(self, run: QueryBatch, windows: Sequence[tuple[int, int]]) -> None:
        """Rank windows that are known beforehand, in place, each as far as the top needs it."""
        for (start, end), depth in zip(windows, lossless_depths(windows, self._top_k), strict=True):
            if depth:
                depth = min(depth, end - start - 1)
                run.order[:, start:end] = self._ranked(run, run.order[:, start:end], depth)
                for cost in run.costs:
                    cost.usage.sequential_calls += 1

    def _ranked(self, run: QueryBatch, rows: torch.Tensor, depth: int) -> torch.Tensor:
        """Order candidate positions (rows, n) to a depth; a row of `run` is that of its query."""
        if run.projected is None:
            projected = self._projected(run.requests, run.costs, run.clock, rows.tolist())
        else:
            projected = run.projected.gather(1, rows[:, :, None].expand(-1, -1, run.projected.shape[2]))
        with run.clock.stage("prompt", *run.costs):
            prompts = self._prompts(run, rows)
            same = run.same_text(rows)
        if self._exact:
            places = self._plain_places(run, prompts, projected, same, depth)
        else:
            with run.clock.stage("prefill", *run.costs):
                batch = run.decoder.prefill(prompts, projected, same)
            with run.clock.stage("decode", *run.costs):
                if run.policy.drafts(len(prompts), depth):
                    places = draft_and_verify(run.decoder, batch, depth)
                    run.policy.learn(depth, batch.passes - 1)
                else:
                    places = run.decoder.steps(batch, depth)
            for cost, ran, kept in zip(run.costs, batch.run_tokens, batch.kept_tokens, strict=True):
                cost.usage.prompt_tokens += ran + kept
                cost.usage.cached_tokens += kept
            for cost in {id(cost): cost for cost in run.costs}.values():  # rows of a query share the passes
                cost.usage.decode_steps += batch.passes - 1
        with run.clock.stage("decode", *run.costs):
            ranked = rows.gather(1, lead_with(places, rows.shape[1]))
        for cost, prompt in zip(run.costs, prompts, strict=True):
            cost.usage.windows += 1
            cost.usage.llm_calls += 1
            cost.usage.generated_tokens += depth
            cost.usage.depths.append(depth)
            cost.usage.control_tokens += prompt.control_tokens
        return ranked

    def _plain_places(
        self,
        run: QueryBatch,
        prompts: list[Prompt],
        projected: torch.Tensor,
        same: torch.Tensor | None,
        depth: int,
    ) -> torch.Tensor:
        """Places of the batch's only row, one pass after the other: prefill is part of `decode` here."""
        with run.clock.stage("decode", *run.costs):
            canonical = None if same is None else same[0].tolist()
            order = plain_order(self._llm, prompts[0], projected[0], depth, canonical)
        usage = run.costs[0].usage
        usage.prompt_tokens += len(prompts[0].token_ids)
        usage.decode_steps += depth - 1
        return torch.tensor([order[:depth]], device=self._llm.device)

    def _projected(
        self,
        requests: Sequence[RerankRequest],
        costs: Sequence[Cost],
        clock: StageClock,
        rows: Sequence[Sequence[int]],
    ) -> torch.Tensor:
        """Passages in the language model's input space, (rows, n, dimension); each text embedded once."""
        row_of: dict[str, int] = {}
        usages = []
        for request, cost, candidates in zip(requests, costs, rows, strict=True):
            for i in candidates:
                text = request.candidates[i].text
                if text not in row_of:
                    row_of[text] = len(row_of)
                    usages.append(cost.usage)
        with clock.stage("embed", *costs):
            vectors = self._embedder.vectors(list(row_of), usages)
        with clock.stage("project", *costs):
            index = [
                [row_of[request.candidates[i].text] for i in candidates]
                for request, candidates in zip(requests, rows, strict=True)
            ]
            return self._llm.project(vectors)[to_device(torch.tensor(index), self._llm.device)]

    def _prompts(self, run: QueryBatch, rows: torch.Tensor) -> list[Prompt]:
        """One prompt a row; without text it depends on nothing but the query and the number of passages."""
        count = rows.shape[1]
        if not self._text:
            return [run.bare_prompt(self._llm.writer, row, count) for row in range(len(run.requests))]
        prompts = []
        for request, cost, candidates in zip(run.requests, run.costs, rows.tolist(), strict=True):
            texts = []
            for i in candidates:
                words = split_words(request.candidates[i].text)
                cost.usage.passages_truncated += len(words) > _TEXT_WORDS
                texts.append(
                    request.candidates[i].text if len(words) <= _TEXT_WORDS else "".join(words[:_TEXT_WORDS])
                )
            prompts.append(self._llm.writer.write(request.query, count, texts))
        return prompts


def _reordered(request: RerankRequest, order: Sequence[int]) -> RerankRequest:
    """Return the request with its candidates in another order."""
    return replace(request, candidates=tuple(request.candidates[i] for i in order))
