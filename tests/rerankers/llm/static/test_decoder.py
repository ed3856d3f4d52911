"""Static passes give the hidden states of transformers' own passes, in few operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModel, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config
from transformers.cache_utils import DynamicCache

from benchmarks.measuring.operations import CountingClock
from rerankers.llm.static.buckets import BucketBuffers
from rerankers.llm.static.decoder import StaticDecoder
from rerankers.llm.static.packing import refusal

SMALL: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
}  # fmt: skip
VIEWS = {
    "view", "transpose", "slice", "unsqueeze", "expand", "select", "permute", "reshape", "split",
    "split_with_sizes", "chunk", "unbind", "flatten", "t", "alias",
}  # fmt: skip


def random_decoder(config: Any) -> Any:
    torch.manual_seed(0)
    make: Any = AutoModel
    decoder = make.from_config(config, dtype=torch.float32).eval().requires_grad_(False)
    for weight in decoder.parameters():
        weight.add_(torch.randn_like(weight), alpha=0.2)
    return decoder


@pytest.mark.parametrize(
    "config",
    [
        MistralConfig(**SMALL, sliding_window=None),
        LlamaConfig(**SMALL, attention_bias=True, mlp_bias=True),
        LlamaConfig(**SMALL, rope_parameters=LLAMA3),
        Qwen2Config(**SMALL),
        Qwen3Config(**SMALL, head_dim=16),
    ],
    ids=["mistral", "llama-with-biases", "llama3-rotation", "qwen2", "qwen3"],
)
@torch.inference_mode()
def test_hidden_states_are_those_of_transformers(config: Any) -> None:
    decoder = random_decoder(config)
    parts = torch.split(torch.randn(2, 24, 32), [15, 8, 1], dim=1)  # a prompt, a draft, a step; two rows
    cache, expected, start = DynamicCache(), [], 0
    for part in parts:
        positions = torch.arange(start, start + part.shape[1])[None]
        output = decoder(inputs_embeds=part, position_ids=positions, past_key_values=cache)
        expected.append(output.last_hidden_state)
        start += part.shape[1]
    static = StaticDecoder(decoder)
    buffers = static.new_buffers()
    for part, states in zip(parts, expected, strict=True):
        positions = torch.arange(buffers.length, buffers.length + part.shape[1])[None]
        torch.testing.assert_close(static.forward(part, positions, buffers), states, atol=1e-5, rtol=1e-5)
    whole = decoder(inputs_embeds=torch.cat(parts, dim=1)).last_hidden_state  # its weights are views now
    torch.testing.assert_close(whole, torch.cat(expected, dim=1), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_packed_weights_are_held_once() -> None:
    decoder = random_decoder(MistralConfig(**SMALL))
    StaticDecoder(decoder)
    attention = decoder.layers[0].self_attn
    storages = {getattr(attention, name).weight.untyped_storage().data_ptr() for name in ("q_proj", "k_proj")}
    assert len(storages) == 1


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (LlamaConfig(**SMALL, hidden_act="gelu"), "gelu"),
        (
            LlamaConfig(**SMALL, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}),
            "dynamic",
        ),
    ],
    ids=["activation", "rotation"],
)
def test_decoders_of_other_kinds_are_refused_with_the_reason(config: Any, reason: str) -> None:
    assert reason in (refusal(random_decoder(config)) or "")


@torch.inference_mode()
def test_flops_are_those_of_transformers_and_of_the_rotations() -> None:
    """Queries and keys are turned by a matrix product; transformers turns them by element-wise operators."""
    decoder = random_decoder(MistralConfig(**SMALL, sliding_window=None))
    static, clock = StaticDecoder(decoder), CountingClock()
    inputs, positions = torch.randn(1, 10, 32), torch.arange(10)[None]
    with clock.stage("prefill"):
        decoder(inputs_embeds=inputs, position_ids=positions)
    with clock.stage("forward"):
        static.forward(inputs, positions, static.new_buffers())
    layers, tokens, heads, head_dimension = 3, 10, 4 + 2, 8
    rotations = 2 * layers * tokens * heads * head_dimension**2
    assert clock.flops["forward"] - clock.flops["prefill"] == rotations


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts dispatched operations that compute something: all but views."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket.__name__ not in VIEWS
        return func(*args, **(kwargs or {}))


@torch.inference_mode()
def test_a_pass_of_thirty_two_layers_is_at_most_four_hundred_operations_on_a_gpu() -> None:
    """Counted on the meta device, which takes the path of a GPU; transformers' pass dispatches 1,300."""
    shape = {**SMALL, "hidden_size": 64, "num_hidden_layers": 32}
    with torch.device("meta"):
        make: Any = AutoModel
        decoder = make.from_config(MistralConfig(**shape, sliding_window=None), dtype=torch.bfloat16).eval()
        static = StaticDecoder(decoder)
        buffers, buckets = static.new_buffers(), BucketBuffers(static)
        static.forward(torch.empty(1, 40, 64, dtype=torch.bfloat16), torch.arange(40)[None], buffers)
        inputs, positions = torch.empty(1, 18, 64, dtype=torch.bfloat16), torch.arange(18)[None] + 40
        bucket = buckets.append_pass(1, 18)
    with _Operations() as operations:  # type: ignore[no-untyped-call]
        static.forward(inputs, positions, buffers)
    assert 32 * 12 <= operations.count <= 400
    with _Operations() as operations:  # type: ignore[no-untyped-call]
        bucket.run()
    assert 32 * 12 <= operations.count <= 400
