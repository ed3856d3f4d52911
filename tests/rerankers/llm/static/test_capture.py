"""Passes in buckets give the hidden states of passes in exact shapes, captured or not.

Compiled passes are compared in `benchmarks/micro/passes/test_static_passes.py`, for a compiler takes seconds,
and CUDA graphs in `tests/rerankers/test_cuda.py`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModel, MistralConfig, Qwen3Config

from benchmarks.measuring.operations import CountingClock
from rerankers.llm.static.buckets import Bucket
from rerankers.llm.static.capture import CapturedPasses
from rerankers.llm.static.decoder import StaticDecoder

SMALL: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


def static_decoder(config: Any) -> StaticDecoder:
    torch.manual_seed(0)
    make: Any = AutoModel
    return StaticDecoder(make.from_config(config, dtype=torch.float32).eval().requires_grad_(False))


@pytest.fixture(scope="module")
def decoder() -> StaticDecoder:
    return static_decoder(MistralConfig(**SMALL, sliding_window=None))


@pytest.mark.parametrize(
    ("rows", "tokens", "filled", "bucket"),
    [
        (1, 1, 0, (1, 1, 512)),
        (1, 9, 496, (1, 16, 512)),
        (1, 9, 497, (1, 16, 1024)),  # padding is written as well
        (3, 33, 0, (4, 64, 512)),
        (5, 330, 100, (8, 384, 512)),
        (16, 513, 100, (16, 768, 1024)),
    ],
)
def test_shapes_are_rounded_up(rows: int, tokens: int, filled: int, bucket: tuple[int, int, int]) -> None:
    assert Bucket.of(rows, tokens, filled) == bucket


def test_buckets_of_as_many_columns_are_few() -> None:
    assert Bucket(1, 1, 512).narrower() == [1, 2, 4, 8, 16, 32, *range(64, 513, 64)]
    assert Bucket(1, 1, 1024).narrower()[-2:] == [768, 1024]


@pytest.mark.parametrize(
    "config", [MistralConfig(**SMALL, sliding_window=None), Qwen3Config(**SMALL, head_dim=16)]
)
@torch.inference_mode()
def test_passes_in_buckets_give_the_states_of_exact_shapes(config: Any) -> None:
    """Three rows, the second padded, of which a prompt, a draft, and after going back another draft run."""
    decoder = static_decoder(config)
    passes = CapturedPasses(decoder, "compiled")
    passes.close()
    exact, buckets = decoder.new_buffers(), passes.new_buffers()
    real = torch.ones(3, 600, dtype=torch.bool)
    real[1, 4:11] = False
    for start, count in ((0, 500), (500, 5), (501, 16), (502, 1)):  # the third one needs new memory
        inputs = torch.randn(3, count, 32)
        end = start + count
        causal = torch.ones(count, end, dtype=torch.bool).tril(start)
        mask = (causal & real[:, None, :end]) | torch.eye(end, dtype=torch.bool)[start:]
        positions = (real.cumsum(1) - 1)[:, start:end].clamp(min=0)
        exact.set_length(start)
        buckets.set_length(start)
        expected = decoder.forward(inputs, positions, exact, mask[:, None])
        states = passes.forward(inputs, positions, buckets, mask[:, None])
        torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)
    assert (buckets.captured, buckets.uncaptured) == (0, 4)


@torch.inference_mode()
def test_buffers_move_only_when_they_grow(decoder: StaticDecoder) -> None:
    passes = CapturedPasses(decoder, "compiled")
    passes.close()
    buffers = passes.new_buffers()
    first = buffers.append_pass(4, 100)
    buffers.set_length(0)
    assert buffers.append_pass(3, 65) is first  # the same bucket
    buffers.append_pass(1, 8)
    buffers.set_length(0)
    assert buffers.append_pass(4, 100) is first
    buffers.append_pass(4, 500)  # more columns than there were
    buffers.set_length(0)
    assert buffers.append_pass(4, 100) is not first


@torch.inference_mode()
def test_operations_are_counted_although_passes_are_captured(decoder: StaticDecoder) -> None:
    """A replay dispatches no operation, so what is counted runs uncaptured."""
    passes, clock = CapturedPasses(decoder, "compiled"), CountingClock()
    passes.close()
    buffers, inputs, positions = passes.new_buffers(), torch.randn(1, 8, 32), torch.arange(8)[None]
    captured = buffers.append_pass(1, 8)
    captured.replay = lambda: torch.zeros(1, 8, 32)
    for _ in range(2):
        buffers.set_length(0)
        with clock.stage("forward"):
            passes.forward(inputs, positions, buffers)
    buffers.set_length(0)
    passes.forward(inputs, positions, buffers)
    assert (buffers.captured, buffers.uncaptured) == (1, 2)
    layers, tokens, columns, heads, width, feed_forward = 2, 8, 512, 4, 32, 48
    head = width // heads
    products = width * (width + 2 * 2 * head) + width * width + 3 * width * feed_forward  # of a token
    rotation, attention = (heads + 2) * head**2, 2 * heads * columns * head
    assert clock.flops["forward"] == 2 * 2 * layers * tokens * (products + rotation + attention)


@torch.inference_mode()
def test_a_capture_that_fails_is_recorded_and_the_pass_runs_uncaptured(decoder: StaticDecoder) -> None:
    """There are no CUDA graphs on a CPU."""
    passes = CapturedPasses(decoder, "graphs")
    buffers, exact = passes.new_buffers(), decoder.new_buffers()
    for count in (40, 3):
        inputs = torch.randn(1, count, 32)
        positions = torch.arange(buffers.length, buffers.length + count)[None]
        expected = decoder.forward(inputs, positions, exact)
        states = passes.forward(inputs, positions, buffers)
        torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)
    assert (buffers.captured, buffers.uncaptured) == (0, 2)
    assert "capturing failed" in (passes.failure or "")
