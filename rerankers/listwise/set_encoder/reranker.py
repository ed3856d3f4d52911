"""Set-Encoder: a cross-encoder whose passages attend to each other (Schlatt et al., arXiv 2404.06912).

All candidates of a query are one set. The order in which they stand has no influence on their scores.
Tokens, cuts and scores are those of lightning-ir, with one deviation: it fills a set of fewer than 100
passages with random states, so that scores differ from call to call. Here a set is as large as it is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rerankers.errors import InputError
from rerankers.interface import Cost, Ranking, Reranker, RerankRequest
from rerankers.listwise.set_encoder.network import SetAttention, SetRow, architecture
from rerankers.models.batching import resolve_batch_tokens
from rerankers.models.devices import resolve_device, resolve_dtype
from rerankers.models.folder import check_hub_model
from rerankers.models.loading_report import load_complete, refuse_adapter
from rerankers.models.locate import find_model
from rerankers.models.remote_code import loading
from rerankers.models.vocabulary import check_rows, load_tokenizer
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.methods.listwise.set_encoder import SetEncoderOptions
    from rerankers.stages import StageClock

_INTERACTION_TOKENS = ("[INT]", "[DOC]")
_QUERY_TOKENS, _PASSAGE_TOKENS = 32, 512  # of lightning-ir, where config.json states none


class SetEncoder(Reranker):
    """A listwise reranker whose scores depend on the whole set of a query's passages, but not on its order.

    Raises:
        InputError: the limits do not fit the model's positions.
        ModelError: the model does not load, or is not a Set-Encoder.
    """

    def __init__(self, options: SetEncoderOptions) -> None:
        from rerankers.encoders.recipe import read_json

        files = find_model(options.model, options.revision)
        target = resolve_device(options.device)
        with loading("Set-Encoder", options.model):
            check_hub_model(files)
            refuse_adapter(files)
            model_config = read_json(files, "config.json")
            config, kind = architecture(options.model, model_config)
            self._tokenizer: Any = load_tokenizer(files, config)
            load = partial(
                kind.from_pretrained,
                files.location,
                config=config,
                revision=files.revision or "main",
                trust_remote_code=False,
                dtype=resolve_dtype(options.dtype, target),
            )
            network = load_complete(options.model, load)
            check_rows(options.model, self._tokenizer, network)
        network = network.to(target).eval().requires_grad_(False)
        self._described = {
            "model": options.model,
            "revision": getattr(network.config, "_commit_hash", None) or files.fingerprint,
            "architecture": kind.__name__,
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "dtype": str(network.dtype).removeprefix("torch."),
        }
        self._batch_tokens = resolve_batch_tokens(options.batch_tokens, target)
        self._attention = SetAttention(network, self._batch_tokens)
        self._control = ControlTokens(self._tokenizer, options.control_tokens)
        self.device = str(target)
        self._query_tokens = options.max_query_tokens or model_config.get("query_length") or _QUERY_TOKENS
        self._passage_tokens = options.max_passage_tokens or model_config.get("doc_length") or _PASSAGE_TOKENS
        self._positions = config.max_position_embeddings
        added = self._tokenizer.get_added_vocab()
        self._interaction = next((added[token] for token in _INTERACTION_TOKENS if token in added), None)
        if self._interaction is None:
            raise InputError(
                f"{options.model!r}: its tokenizer has neither {' nor '.join(_INTERACTION_TOKENS)}. "
                "Put the model's own tokenizer beside config.json."
            )
        if self._query_tokens + 4 >= self._positions:
            raise InputError(
                f"max_query_tokens is {self._query_tokens}, but {options.model!r} has only {self._positions} "
                "positions for a query and a passage. Lower it."
            )

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank each request's candidates as one set; passages with the same token ids get one score."""
        rankings = []
        for request in requests:
            cost = Cost()
            with clock.stage("prompt", cost):
                rows = self._rows(request, cost)
            scores: list[float] = []
            if rows:
                with clock.stage("forward", cost):
                    scores = self._attention.scores(rows)
            with clock.stage("order", cost):
                first: dict[tuple[int, ...], float] = {}
                for row, score in zip(rows, scores, strict=True):
                    first.setdefault(tuple(row.token_ids), score)
                shared_scores = [first[tuple(row.token_ids)] for row in rows]
                rankings.append(Ranking.by_score(request, shared_scores, cost))
        return rankings

    def rows(self, query: str, passages: Sequence[str]) -> tuple[list[SetRow], list[bool]]:
        """Return the token ids of the query with each passage, and for each passage whether it was cut.

        As in lightning-ir, texts are cut to tokens, turned into text again and tokenised once more.
        """
        tokenizer = self._tokenizer
        (query_ids,), _ = self._cut([query], self._query_tokens)
        passage_ids, are_cut = self._cut(passages, self._passage_tokens)
        start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
        front = [start, self._interaction, *query_ids, end]
        room = max(0, self._positions - len(front) - 1)
        rows = [SetRow([*front, *ids[:room], end], len(front)) for ids in passage_ids]
        return rows, [was or len(ids) > room for was, ids in zip(are_cut, passage_ids, strict=True)]

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the model as loaded, and the limits."""
        return {
            **self._described,
            "max_query_tokens": self._query_tokens,
            "max_passage_tokens": self._passage_tokens,
            "control_tokens": self._control.mode,
            "batch_tokens": self._batch_tokens,
            "device": self.device,
        }

    def _rows(self, request: RerankRequest, cost: Cost) -> list[SetRow]:
        """Return the network's input for a request, and count its tokens, cut passages and control tokens."""
        texts = [request.query, *(candidate.text for candidate in request.candidates)]
        [query, *passages], control_tokens = self._control.read(texts)
        rows, are_cut = self.rows(query, passages) if passages else ([], [])
        usage = cost.usage
        usage.windows = min(1, len(rows))
        usage.control_tokens = sum(control_tokens)
        usage.passages_truncated = sum(are_cut)
        usage.prompt_tokens = sum(len(row.token_ids) for row in rows)
        return rows

    def _cut(self, texts: Sequence[str], limit: int) -> tuple[list[list[int]], list[bool]]:
        """Return the token ids of each text, cut to `limit` tokens, and for each whether it was cut."""
        ids = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        cut_texts = self._tokenizer.batch_decode([row[:limit] for row in ids])
        cut_ids = self._tokenizer(cut_texts, add_special_tokens=False, verbose=False)["input_ids"]
        return cut_ids, [len(row) > limit for row in ids]
