"""Host time of a static pass against that of transformers' own, in one process.

A 32-layer Mistral of width 64 has next to no arithmetic, so the time of a pass is what the host needs to send
it, taken as CPU time. Both run in turn, and the least of many passes counts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import torch

from rerankers.llm.static.decoder import StaticDecoder
from rerankers.pe_rank.cache import WindowCache

if TYPE_CHECKING:
    from collections.abc import Callable

PROMPT = 40
SHAPE: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 32,
    "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("tokens", "figure"), [(1, "pe-rank/host-time-one-token"), (10, "pe-rank/host-time-ten-tokens")]
)
@torch.inference_mode()
def test_host_time_of_a_pass(
    benchmark: Any,
    tokens: int,
    figure: str,
    measured: Callable[[str, float], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    from transformers import AutoModel, MistralConfig

    make: Any = AutoModel
    decoder = make.from_config(MistralConfig(**SHAPE), dtype=torch.float32).eval()
    static = StaticDecoder(decoder)
    cache, buffers = WindowCache(SHAPE["num_hidden_layers"]), static.new_buffers()
    prompt, inputs = torch.randn(1, PROMPT, 64), torch.randn(1, tokens, 64)
    positions = torch.arange(PROMPT + tokens)[None]
    mask = torch.ones(1, 1, tokens, PROMPT + tokens, dtype=torch.bool).tril(PROMPT)
    static.forward(prompt, positions[:, :PROMPT], buffers)
    decoder(inputs_embeds=prompt, position_ids=positions[:, :PROMPT], past_key_values=cache)

    def eager_pass() -> torch.Tensor:
        cache.set_length(PROMPT)
        hidden: torch.Tensor = decoder(
            inputs_embeds=inputs,
            position_ids=positions[:, PROMPT:],
            past_key_values=cache,
            attention_mask=None if tokens == 1 else mask,
        ).last_hidden_state
        return hidden

    def static_pass() -> torch.Tensor:
        buffers.set_length(PROMPT)
        return static.forward(inputs, positions[:, PROMPT:], buffers, None if tokens == 1 else mask)

    torch.testing.assert_close(static_pass(), eager_pass(), atol=1e-5, rtol=1e-4)
    seconds: dict[Callable[[], torch.Tensor], list[float]] = {eager_pass: [], static_pass: []}

    def in_turn() -> None:
        for run, taken in seconds.items():
            started = time.process_time()
            run()
            taken.append(time.process_time() - started)

    benchmark.pedantic(in_turn, rounds=40, warmup_rounds=3)
    eager, own = (min(taken) * 1000 for taken in seconds.values())
    measured(figure, eager / own)
    with capsys.disabled():
        print(f"\n{tokens} tokens: transformers {eager:.2f} ms, static {own:.2f} ms, {eager / own:.2f} times")
