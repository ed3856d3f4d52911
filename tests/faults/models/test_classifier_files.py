"""Classifiers and adapters with damaged settings: scored, or refused in one line that names the model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.conftest import copy_with, rerank

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

trial = settings(settings.get_profile("slow-faults"))
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def classifier(folder: Path, tiny_classifier: str) -> Path:
    """Return a classifier in the layout of sentence-transformers."""
    from sentence_transformers import CrossEncoder

    path = folder / "classifier"
    CrossEncoder(tiny_classifier, device="cpu").save_pretrained(str(path), create_model_card=False)
    return path


@pytest.fixture(scope="module")
def adapter(folder: Path, tiny_llm: str) -> Path:
    """Return a LoRA with a head on the tiny language model."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    network: Any = AutoModelForSequenceClassification.from_pretrained(tiny_llm, num_labels=1)
    lora = LoraConfig(task_type=TaskType.SEQ_CLS, r=2, target_modules=["q_proj"])
    path = folder / "adapter"
    get_peft_model(network, lora).save_pretrained(str(path))
    return path


def test_both_are_right_before_they_are_broken(
    judge: Any, candidates: Path, classifier: Path, adapter: Path
) -> None:
    assert not judge(rerank(candidates, classifier, "cross-encoder"), b"")
    assert not judge(rerank(candidates, adapter, "cross-encoder"), b"")


@pytest.mark.parametrize(
    "member",
    [
        "config.json",
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "tokenizer_config.json",
    ],
)
@given(data=st.data())
@trial
def test_wrong_values_in_a_classifiers_files_are_refused(
    judge: Any,
    broken: Any,
    dump: Callable[[Any], bytes],
    candidates: Path,
    classifier: Path,
    member: str,
    data: Any,
) -> None:
    content = dump(data.draw(broken.value_of(json.loads((classifier / member).read_bytes()))))
    target = copy_with(classifier, member, content, classifier.parent / "changed-classifier")
    judge(rerank(candidates, target, "cross-encoder"), content, target, "model", "cross-encoder")


@given(data=st.data())
@trial
def test_wrong_values_in_an_adapters_configuration_are_refused(
    judge: Any, broken: Any, dump: Callable[[Any], bytes], candidates: Path, adapter: Path, data: Any
) -> None:
    content = dump(data.draw(broken.value_of(json.loads((adapter / "adapter_config.json").read_bytes()))))
    target = copy_with(adapter, "adapter_config.json", content, adapter.parent / "changed-adapter")
    judge(rerank(candidates, target, "cross-encoder"), content, target, "model", "base", "cross-encoder")
