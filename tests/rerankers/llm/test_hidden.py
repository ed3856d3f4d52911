from __future__ import annotations

from typing import Any

import pytest
import torch

from rerankers.llm.hidden import HiddenLM

PROMPTS = [[5, 6, 7, 8, 9, *range(20, 20 + length)] for length in (3, 40, 17, 4)]
WANTED = [[7], [10, 30, 44], [21], [6, 8]]


@pytest.fixture(scope="module")
def llm(tiny_llm: str) -> HiddenLM:
    return HiddenLM(tiny_llm)


@pytest.fixture(scope="module")
def plain(tiny_llm: str) -> Any:
    """Compute the definition: every state computed, eager attention."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_llm, attn_implementation="eager").model


@pytest.mark.parametrize("batch_tokens", [1, 64, 10_000])
@pytest.mark.parametrize("prefix", [[], [5, 6, 7], [4, 4]], ids=["none", "kept", "another"])
@pytest.mark.parametrize("shared", [0, 50])
def test_states_are_those_of_each_prompt_alone(
    llm: HiddenLM, plain: Any, batch_tokens: int, prefix: list[int], shared: int
) -> None:
    beginning = [5, 6, 7, *range(300, 300 + shared)]
    prompts = [beginning + ids for ids in PROMPTS]
    wanted = [[len(beginning) + position for position in positions] for positions in WANTED]
    llm.keep(prefix)
    read = llm.read(prompts, wanted, batch_tokens)
    llm.keep([])
    for ids, states, positions in zip(prompts, read.states, wanted, strict=True):
        with torch.inference_mode():
            whole = plain(input_ids=torch.tensor([ids])).last_hidden_state[0]
        assert (states - whole[positions]).abs().max() < 1e-5
    lengths = [positions[-1] + 1 for positions in wanted]
    assert [a + b for a, b in zip(read.ran_tokens, read.cached_tokens, strict=True)] == lengths
    kept = 3 if prefix == [5, 6, 7] else 0
    common = len(beginning) + min(positions[0] for positions in WANTED) if shared else kept
    assert read.cached_tokens == [kept, common, common, common]


def test_nothing_to_read_reads_nothing(llm: HiddenLM) -> None:
    read = llm.read([], [], 64)
    assert (read.states, read.ran_tokens, read.cached_tokens) == ([], [], [])


def test_a_model_whose_states_padding_changes_reads_one_by_one(
    llm: HiddenLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm.exactness, "pads", False)
    rows = []
    hook = llm.decoder.get_input_embeddings().register_forward_pre_hook(
        lambda _, inputs: rows.append(len(inputs[0]))
    )
    llm.read(PROMPTS, WANTED, 10_000)
    hook.remove()
    assert rows == [1] * len(PROMPTS)
    assert "padded rows" in str(llm.describe()["reading"])
