"""The network of the Set-Encoder: ELECTRA or BERT, in whose attention passages see each other.

Every passage is read with the query, as in a cross-encoder, and has an interaction token behind `[CLS]`. In
each layer a passage attends to its own tokens and to the interaction tokens of all other passages (arXiv
2404.06912, section 3). Keys and values of the interaction tokens are computed once a layer and shared; the
published code computes them anew for every passage. The last layer is computed at `[CLS]` alone.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import BertConfig, BertModel, ElectraConfig, ElectraModel

from rerankers.errors import ModelError
from rerankers.models.batching import length_sorted_batches
from rerankers.models.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INTERACTION = 1  # position of the interaction token, behind [CLS]
_TYPE = "set-encoder"
_NOT_THE_BACKBONE_S = ("model_type", "architectures", "auto_map")
_SUPPORTED = {"add_extra_token": True, "pooling_strategy": "first", "scoring_strategy": "rank"}


class SetRow(NamedTuple):
    """One input of the network: a query with a passage as token ids, and where the passage begins."""

    token_ids: list[int]
    passage_start: int


class _Batch(NamedTuple):
    """A batch of a set's passages.

    Attributes:
        members: number of each passage in the set, (rows,).
        states: (rows, tokens, width).
        mask: which tokens are not padding, (rows, tokens).
    """

    members: torch.Tensor
    states: torch.Tensor
    mask: torch.Tensor


class SetElectra(ElectraModel):  # type: ignore[no-untyped-call]
    """ELECTRA with a linear layer that turns the state of `[CLS]` into a passage's score."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.linear = nn.Linear(config.hidden_size, 1, bias=config.linear_bias)
        self.post_init()  # type: ignore[no-untyped-call]


class SetBert(BertModel):  # type: ignore[no-untyped-call]
    """BERT with a linear layer that turns the state of `[CLS]` into a passage's score."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config, add_pooling_layer=False)
        self.linear = nn.Linear(config.hidden_size, 1, bias=config.linear_bias)
        self.post_init()  # type: ignore[no-untyped-call]


_BACKBONES: dict[str, tuple[type[Any], type[Any]]] = {
    "electra": (ElectraConfig, SetElectra),
    "bert": (BertConfig, SetBert),
}


def architecture(name: str, config: Mapping[str, Any]) -> tuple[Any, type[Any]]:
    """Return the configuration and the network class of a Set-Encoder, by its `config.json`.

    Args:
        name: the model's name, for errors.
        config: the content of `config.json`.

    Raises:
        ModelError: the model is not a Set-Encoder, or one of a kind that was never released.
    """
    backbone = config.get("backbone_model_type")
    if config.get("model_type") != _TYPE or backbone not in _BACKBONES:
        raise ModelError(
            f"{name!r} is a model of type {config.get('model_type')!r} with the backbone {backbone!r}, not a "
            f"{_TYPE} with {' or '.join(_BACKBONES)}. Name webis/set-encoder-base, or a relative of it."
        )
    for key, value in {**_SUPPORTED, "_bert_pool": False}.items():
        if config.get(key, value) != value:
            raise ModelError(
                f"{name!r}: config.json: {key} is {config[key]!r}. Only {value!r} is supported here."
            )
    make, network = _BACKBONES[str(backbone)]
    backbone_config = {key: value for key, value in config.items() if key not in _NOT_THE_BACKBONE_S}
    return make(**{**backbone_config, "linear_bias": config.get("linear_bias", False)}), network


class SetAttention:
    """A scorer of sets of passages, which runs the network layer by layer with attention between passages.

    Args:
        network: a `SetElectra` or `SetBert` in evaluation mode.
        batch_tokens: most tokens in one batch of passages, padding included.
    """

    def __init__(self, network: Any, batch_tokens: int) -> None:
        self._network = network
        self._batch_tokens = batch_tokens
        self._heads = network.config.num_attention_heads
        network.linear.float()  # in half precision near scores would tie

    @torch.inference_mode()
    def scores(self, rows: Sequence[SetRow]) -> list[float]:
        """Return the score of each passage of one set, in the order of `rows`; a set has at least one."""
        device = self._network.device
        lengths = [len(row.token_ids) for row in rows]
        numbers = length_sorted_batches(lengths, self._batch_tokens, device)
        batches = side_by_side(lambda batch: self._begin(rows, batch), numbers, device)
        layers = list(self._network.encoder.layer)
        for layer in layers:
            states = torch.cat([batch.states[:, _INTERACTION] for batch in batches])  # (set, width)
            attention = layer.attention.self
            order = torch.cat([batch.members for batch in batches])
            shared = (self._by_head(attention.key(states)), self._by_head(attention.value(states)))
            kept = 1 if layer is layers[-1] else None
            work = partial(self._layer, layer=layer, order=order, shared=shared, kept=kept)
            batches = side_by_side(work, batches, device)
        scores = torch.empty(len(rows))
        for batch in batches:
            scores[batch.members.cpu()] = self._network.linear(batch.states[:, 0].float())[:, 0].cpu()
        values: list[float] = scores.tolist()
        return values

    def _begin(self, rows: Sequence[SetRow], numbers: list[int]) -> _Batch:
        """Return a batch with the input embeddings of the passages `numbers`, padded to the longest."""
        longest = max(len(rows[i].token_ids) for i in numbers)
        ids = torch.zeros(len(numbers), longest, dtype=torch.long)
        types, mask = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        for place, i in enumerate(numbers):
            length = len(rows[i].token_ids)
            ids[place, :length] = torch.tensor(rows[i].token_ids)
            types[place, rows[i].passage_start : length] = 1
            mask[place, :length] = True
        device = self._network.device
        states = self._network.embeddings(input_ids=ids.to(device), token_type_ids=types.to(device))
        if hasattr(self._network, "embeddings_project"):
            states = self._network.embeddings_project(states)
        return _Batch(torch.tensor(numbers, device=device), states, mask.to(device))

    def _layer(
        self,
        batch: _Batch,
        layer: Any,
        order: torch.Tensor,
        shared: tuple[torch.Tensor, torch.Tensor],
        kept: int | None,
    ) -> _Batch:
        """Return the batch with its states after one layer of the backbone.

        Args:
            batch: passages before the layer.
            layer: of the backbone.
            order: (set,) the passage that each interaction token belongs to.
            shared: keys and values of the interaction tokens, each (heads, set, width of a head).
            kept: how many of the first positions are computed; None for all.
        """
        attention, count = layer.attention.self, len(batch.members)
        asking = batch.states[:, :kept]
        keys, values = (
            torch.cat([self._by_head(own_states), others.expand(count, *others.shape)], dim=2)
            for own_states, others in zip(
                (attention.key(batch.states), attention.value(batch.states)), shared, strict=True
            )
        )  # (rows, heads, tokens + set, width of a head)
        others_seen = batch.members[:, None] != order[None, :]  # a passage's own token is among its tokens
        mask = torch.cat([batch.mask, others_seen], dim=1)[:, None, None, :]
        context = scaled_dot_product_attention(self._by_head(attention.query(asking)), keys, values, mask)
        context = context.transpose(1, 2).reshape(asking.shape)
        attended = layer.attention.output(context, asking)
        return batch._replace(states=layer.output(layer.intermediate(attended), attended))

    def _by_head(self, states: torch.Tensor) -> torch.Tensor:
        """Reshape states (..., tokens, width) to (..., heads, tokens, width of a head)."""
        by_head: torch.Tensor = states.reshape(*states.shape[:-1], self._heads, -1).transpose(-2, -3)
        return by_head
