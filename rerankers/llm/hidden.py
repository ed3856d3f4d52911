"""Hidden states of a decoder at chosen positions of many prompts, for methods that score by embeddings.

The vocabulary's logits are never computed, and of the last layer only the rows of the chosen positions.
Prompts are batched by length under a token budget and padded on the right, where causal attention never
looks. A prefix that all prompts of a call share is prefilled once, and one that all prompts of a method share
is kept from call to call. Where a model would give other states that way (`rerankers.llm.exactness`), prompts
are read whole, or one by one.
"""

from __future__ import annotations

import copy
import threading
from contextlib import contextmanager
from itertools import takewhile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from rerankers.llm.causal import load_network
from rerankers.llm.exactness import Exactness, keeps_every_token
from rerankers.llm.prefixed_attention import use_prefixed_attention
from rerankers.models.batching import length_sorted_batches
from rerankers.models.lengths import usable_positions
from rerankers.models.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Unpack

    from rerankers.llm.causal import NetworkOptions

_WORTH_SHARING = 64  # tokens saved, below which one more forward pass costs more than it saves


class HiddenLM:
    """A decoder of transformers in evaluation mode, with its tokenizer and without its vocabulary head.

    Args:
        model: hub id, folder or wheel; see `rerankers.models.locate`.
        architecture: the class to load, for an architecture that transformers does not know; it has the
            decoder as its attribute `model`. None is transformers' own class of the decoder.
        options: revision, device, dtype and attention.

    Attributes:
        network: the loaded network.
        decoder: the part of it whose hidden states are read.
        tokenizer: its tokenizer.
        device: the device of the weights.
        exactness: the ways in which prompts may be read together.
        context: longest prompt in tokens; None where positions set no limit.

    Raises:
        InputError: no such folder or device.
        ModelError: the files do not load, or a weight is missing or surplus.
    """

    def __init__(self, model: str, *, architecture: Any = None, **options: Unpack[NetworkOptions]) -> None:
        from transformers import AutoModel

        loaded = load_network(architecture or AutoModel, model, **options)
        self.network: Any = loaded.network
        self.decoder: Any = loaded.network if architecture is None else loaded.network.model
        self.tokenizer: Any = loaded.tokenizer
        self.device = loaded.device
        self.exactness = Exactness(_StatesAsLogits(self.decoder), self.tokenizer)
        self.context = usable_positions(self.decoder.config.get_text_config())
        self._described = loaded.described
        self._last_layer = _LastLayer(self.decoder)
        self._kept: list[int] = []  # tokens that prompts begin with
        self._kept_cache: Any = None  # their keys and values
        use_prefixed_attention(self.decoder)

    def describe(self) -> dict[str, object]:
        """Return the record's entry: name, version, dtype, attention, and ways of reading that are
        not exact.
        """
        return {**self._described, **self.exactness.describe("pads", "shares")}

    def keep(self, prefix: Sequence[int]) -> None:
        """Prefill a prefix for all later prompts that begin with it, if the model reads shared prefixes
        exactly.

        It replaces the prefix kept before.

        Args:
            prefix: token ids.
        """
        self._kept, self._kept_cache = [], None
        if len(prefix) and self.exactness.shares:
            cache = self._prefill(prefix, None)
            if keeps_every_token(cache):
                self._kept, self._kept_cache = list(prefix), cache

    def read(
        self, prompts: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]], batch_tokens: int
    ) -> Read:
        """Return the hidden states behind the last norm at some positions of each prompt.

        Args:
            prompts: token ids; none empty.
            wanted: ascending positions of each prompt, at least one.
            batch_tokens: tokens in one forward pass, padding included, the shared prefix not counted.
        """
        kept, shared = self._prefixes(prompts, wanted)
        states: list[torch.Tensor] = [torch.empty(0)] * len(prompts)
        past = self._kept_cache if kept else None
        if shared > kept:
            past = self._prefill(prompts[0][kept:shared], past)
            if not keeps_every_token(past):
                past, shared = None, 0

        def forward(batch: list[int]) -> None:
            """Run a batch of prompts, by their positions, and put their hidden states into `states`."""
            rows = [list(prompts[i][shared : wanted[i][-1] + 1]) for i in batch]
            places = [[position - shared for position in wanted[i]] for i in batch]
            for i, row_states in zip(batch, self._forward(rows, places, past), strict=True):
                states[i] = row_states

        lengths = [positions[-1] + 1 - shared for positions in wanted]
        budget = batch_tokens if self.exactness.pads else 1  # one prompt a batch
        batches = length_sorted_batches(lengths, budget, self.device)
        side_by_side(forward, batches, self.device)
        cached = (
            [kept] + [shared] * (len(prompts) - 1) if prompts else []
        )  # the first pays for what all share
        ran = [positions[-1] + 1 - count for positions, count in zip(wanted, cached, strict=True)]
        return Read(states, ran, cached)

    def _prefixes(self, prompts: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]) -> tuple[int, int]:
        """Return the number of the prompts' first tokens that are cached, and the number to share: at
        least as many.
        """
        limit = min((positions[0] for positions in wanted), default=0)
        kept = len(self._kept)
        if kept > limit or any(list(prompt[:kept]) != self._kept for prompt in prompts):
            kept = 0
        shared = len(common_prefix([prompt[:limit] for prompt in prompts]))
        is_worth_it = (shared - kept) * (len(prompts) - 1) >= _WORTH_SHARING
        return kept, shared if is_worth_it and self.exactness.shares else kept

    @torch.inference_mode()
    def _prefill(self, ids: Sequence[int], past: Any) -> Any:
        """Return a cache of `past` and the tokens that follow it; `past` itself stays unchanged.

        Args:
            ids: token ids.
            past: a cache; None for an empty one.
        """
        tokens = torch.tensor([list(ids)], device=self.device)
        none = torch.tensor([], dtype=torch.long, device=self.device)
        with self._last_layer.only(none):
            output = self.decoder(input_ids=tokens, past_key_values=copy.deepcopy(past), use_cache=True)
        return output.past_key_values

    def _forward(self, rows: list[list[int]], places: list[list[int]], past: Any) -> list[torch.Tensor]:
        """Return hidden states of each row at its places, (places, width) float32.

        Args:
            rows: token ids that follow `past`.
            places: positions in each row.
            past: the cache of the shared prefix, one row; None for none.
        """
        width = max(map(len, rows))
        tokens = torch.full((len(rows), width), self.tokenizer.pad_token_id or 0)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = torch.tensor(row)
        flat = [i * width + place for i, row in enumerate(places) for place in row]
        cache = None
        if past is not None:
            cache = copy.deepcopy(past)
            cache.batch_repeat_interleave(len(rows))
        chosen = torch.tensor(flat, device=self.device)
        with self._last_layer.only(chosen):
            output = self.decoder(
                input_ids=tokens.to(self.device), past_key_values=cache, use_cache=cache is not None
            )
        states = output.last_hidden_state.flatten(0, 1)[chosen].float()
        return list(states.split([len(row) for row in places]))


def common_prefix(sequences: Sequence[Sequence[int]]) -> list[int]:
    """Return the longest list of tokens that all sequences begin with; empty for no sequences."""
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*sequences, strict=False))
    return [column[0] for column in columns]


class Read:
    """The hidden states of prompts, and the number of tokens that were run for them.

    Attributes:
        states: of each prompt, (positions wanted, width) float32.
        ran_tokens: tokens of each prompt that went through the model.
        cached_tokens: tokens of each prompt that had gone through it before.
    """

    def __init__(self, states: list[torch.Tensor], ran: list[int], cached: list[int]) -> None:
        self.states, self.ran_tokens, self.cached_tokens = states, ran, cached


class _LastLayer:
    """The feed-forward part of a decoder's last layer, computed only for chosen rows.

    The modules after it treat rows one by one. Decoders whose last layer has other names compute all rows.
    """

    def __init__(self, decoder: Any) -> None:
        self._chosen = threading.local()  # by the thread that runs a batch
        layers = getattr(decoder, "layers", None)
        layer = layers[-1] if layers else None
        norm, mlp = (getattr(layer, name, None) for name in ("post_attention_layernorm", "mlp"))
        if isinstance(norm, torch.nn.Module) and isinstance(mlp, torch.nn.Module):
            norm.register_forward_pre_hook(self._pick)
            mlp.register_forward_hook(self._put_back)

    @contextmanager
    def only(self, rows: torch.Tensor) -> Iterator[None]:
        """Compute only these rows of the flattened batch, in this thread, inside the `with` block."""
        self._chosen.rows = rows
        try:
            yield
        finally:
            del self._chosen.rows

    def _pick(self, _module: Any, inputs: tuple[torch.Tensor, ...]) -> Any:
        """Reduce the input of the norm before the feed-forward to the chosen rows, as a hook."""
        rows = getattr(self._chosen, "rows", None)
        if rows is None:
            return None
        self._chosen.shape = inputs[0].shape
        return (inputs[0].flatten(0, 1)[rows], *inputs[1:])

    def _put_back(self, _module: Any, _inputs: Any, output: torch.Tensor) -> Any:
        """Return the feed-forward's output in the shape of the batch, zeros in other rows, as a hook."""
        rows = getattr(self._chosen, "rows", None)
        if rows is None:
            return None
        whole = output.new_zeros(self._chosen.shape)
        whole.flatten(0, 1)[rows] = output
        return whole


class _StatesAsLogits:
    """A decoder that returns its hidden states under the name of logits, for `Exactness`."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    @property
    def device(self) -> Any:
        """The decoder's device."""
        return self._decoder.device

    def __call__(self, **inputs: Any) -> SimpleNamespace:
        output = self._decoder(**inputs)
        return SimpleNamespace(logits=output.last_hidden_state, past_key_values=output.past_key_values)
