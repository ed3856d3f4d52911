"""Host time of static passes against that of transformers' own, in one process.

A 32-layer Mistral of width 64 has next to no arithmetic, so the time of a pass is what the host needs to send
it, taken as CPU time. All run in turn, and the least of many passes counts. Passes in buckets compute more
than is needed: 512 columns, and 16 tokens for ten. The compiled one is left out where there is no C++
compiler.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch

from benchmarks.micro.workloads.ways import in_turns
from rerankers.llm.static.capture import CapturedPasses
from rerankers.llm.static.decoder import StaticDecoder
from rerankers.pe_rank.cache import WindowCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers.llm.static.buckets import BucketBuffers
    from rerankers.llm.static.buffers import KeyValueBuffers

PROMPT = 40
SHAPE: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 32,
    "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": None,
}  # fmt: skip


class Passes:
    """Passes of some tokens behind a prompt, by transformers, static, and in buckets.

    Args:
        tokens: tokens of a pass.
    """

    def __init__(self, tokens: int) -> None:
        from transformers import AutoModel, MistralConfig

        make: Any = AutoModel
        self._decoder = make.from_config(MistralConfig(**SHAPE), dtype=torch.float32).eval()
        self.static = StaticDecoder(self._decoder)
        self._prompt, self._inputs = torch.randn(1, PROMPT, 64), torch.randn(1, tokens, 64)
        self._positions = torch.arange(PROMPT + tokens)[None]
        self._mask = None
        if tokens > 1:
            self._mask = torch.ones(1, 1, tokens, PROMPT + tokens, dtype=torch.bool).tril(PROMPT)

    def eager(self) -> Callable[[], torch.Tensor]:
        """Return a pass of transformers."""
        cache = WindowCache(SHAPE["num_hidden_layers"])
        positions = self._positions
        self._decoder(inputs_embeds=self._prompt, position_ids=positions[:, :PROMPT], past_key_values=cache)

        def run() -> torch.Tensor:
            cache.set_length(PROMPT)
            hidden: torch.Tensor = self._decoder(
                inputs_embeds=self._inputs,
                position_ids=positions[:, PROMPT:],
                past_key_values=cache,
                attention_mask=self._mask,
            ).last_hidden_state
            return hidden

        return run

    def ours(
        self, forward: Callable[..., torch.Tensor], buffers: KeyValueBuffers
    ) -> Callable[[], torch.Tensor]:
        """Return a pass of ours, which `forward` runs, on buffers."""
        forward(self._prompt, self._positions[:, :PROMPT], buffers)

        def run() -> torch.Tensor:
            buffers.set_length(PROMPT)
            return forward(self._inputs, self._positions[:, PROMPT:], buffers, self._mask)

        return run

    def compiled(self) -> tuple[Callable[[], torch.Tensor], BucketBuffers]:
        """Return a compiled pass, whose prompt runs uncaptured, and its buffers."""
        prompt, passes = CapturedPasses(self.static, "compiled"), CapturedPasses(self.static, "compiled")
        prompt.close()
        buffers = passes.new_buffers()
        prompt.forward(self._prompt, self._positions[:, :PROMPT], buffers)

        def run() -> torch.Tensor:
            buffers.set_length(PROMPT)
            return passes.forward(self._inputs, self._positions[:, PROMPT:], buffers, self._mask)

        run()
        assert passes.failure is None
        return run, buffers


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
    passes = Passes(tokens)
    uncaptured = CapturedPasses(passes.static, "compiled")
    uncaptured.close()
    ways = {
        "transformers": passes.eager(),
        "static": passes.ours(passes.static.forward, passes.static.new_buffers()),
        "bucket": passes.ours(uncaptured.forward, uncaptured.new_buffers()),
    }
    if shutil.which("g++") or shutil.which("clang++"):
        ways["compiled"], buffers = passes.compiled()
        assert buffers.captured == 1
    expected = ways["transformers"]()
    for run in ways.values():
        torch.testing.assert_close(run(), expected, atol=1e-5, rtol=1e-4)
    seconds = in_turns(ways, benchmark, rounds=60)
    least = {name: min(taken) for name, taken in seconds.items()}
    measured(figure, least["transformers"] / least["static"])
    with capsys.disabled():
        for name, taken in least.items():
            print(
                f"\n{tokens} tokens, {name}: {taken * 1000:.2f} ms, {least['transformers'] / taken:.2f} times"
            )
