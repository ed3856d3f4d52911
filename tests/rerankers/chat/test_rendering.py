"""A chat template that never ends, fills the memory or the prompt is ended in one line."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from transformers import AutoTokenizer

from rerankers import RerankRequest, StageClock, create
from rerankers.chat import rendering
from rerankers.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

DOUBLING = (
    "{% set all = namespace(text='ab') %}"
    "{% for i in range(60) %}{% set all.text = all.text ~ all.text %}{% endfor %}{{ all.text }}"
)
ENDLESS = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
CONVERSATION = [{"role": "user", "content": "Which passage is best?"}]


@pytest.fixture
def tokenizer(tiny_llm: str) -> Any:
    return AutoTokenizer.from_pretrained(tiny_llm)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (ENDLESS, r"takes more than 0\.3 seconds"),
        (DOUBLING, "takes more than 1 GiB"),
        ("{{ 'x' * 10000000 }}", "makes 10000000 characters of 22"),
        ("{{ 'x' * 10**14 }}", "refuses the prompt: MemoryError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "refuses the prompt: maximum recursion depth"),
        ("{{ raise_exception('no') }}", "refuses the prompt: no"),
        ("{{ ''.__class__.__mro__ }}", "refuses the prompt: access to attribute '__class__'"),
    ],
)
def test_a_template_out_of_bounds_is_refused_in_one_line(
    tokenizer: Any, template: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if template == ENDLESS:
        monkeypatch.setattr(rendering, "LONGEST_SECONDS", 0.3)
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=says) as raised:
        rendering.render(tokenizer, CONVERSATION, model="m")
    assert str(raised.value).startswith("the chat template of 'm' ")
    assert len(str(raised.value).splitlines()) == 1


def test_a_rendering_within_bounds_is_left_alone(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "LONGEST_SECONDS", 0.0)  # the limit passes between two renderings
    plain = tokenizer.apply_chat_template(CONVERSATION, tokenize=False, add_generation_prompt=True)
    for _ in range(3):
        assert rendering.render(tokenizer, CONVERSATION, model="m") == plain
        time.sleep(0.06)


@pytest.mark.parametrize("name", ["rankgpt", "first", "causal-yes-no", "pe-rank"])
def test_every_reranker_with_a_chat_template_renders_it_in_bounds(
    tiny_llm: str, tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(rendering, "LONGEST_SECONDS", 0.3)
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_llm)
    tokenizer.chat_template = ENDLESS
    shutil.copytree(tiny_llm, tmp_path, dirs_exist_ok=True)
    tokenizer.save_pretrained(tmp_path)
    more: dict[str, dict[str, Any]] = {
        "rankgpt": {"backend": "transformers"},
        "causal-yes-no": {"prompt": "chat"},
        "pe-rank": {"encoder": tiny_encoder},
    }

    def rerank() -> None:
        reranker = create(name, {"model": str(tmp_path), **more.get(name, {})})
        reranker.rerank([RerankRequest.of("query", {"d1": "one", "d2": "two"})], StageClock())

    with pytest.raises(ModelError, match=r"takes more than 0\.3 seconds"):
        rerank()
