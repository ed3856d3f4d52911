"""Prompts hold one placeholder a passage, whatever the texts and the chat template bring."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from rerankers.errors import InputError, ModelError
from rerankers.pe_rank.prompt import PromptTemplate, PromptWriter


@pytest.mark.parametrize("line", ["Passage {i}", "<PLACEHOLDER> <PLACEHOLDER>"])
def test_the_line_of_a_passage_has_one_slot(line: str) -> None:
    with pytest.raises(InputError, match="of a prompt needs one <PLACEHOLDER>"):
        PromptTemplate(passage=line)


def test_a_slot_that_the_chat_template_loses_is_an_error(tiny_llm: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm)
    tokenizer.chat_template = "{% for message in messages %}{{ message.content[:40] }}{% endfor %}"
    writer = PromptWriter(tokenizer, PromptTemplate())
    with pytest.raises(
        ModelError, match="the prompt has 0 placeholders for 3 passages; check the chat template"
    ):
        writer.write("bees", 3)
