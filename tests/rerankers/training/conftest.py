"""Tiny trainings: a random model of two layers, a random encoder, lists of made-up passages."""

from __future__ import annotations

import json
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from rerankers.training import trainer
from rerankers.training.settings import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rerankers.training.settings import Settings, Stage

WORDS = ["harbour", "pilot", "hive", "frost", "orchard", "violin", "maple", "sand", "press", "letter", "fox"]
PROMPT = {
    "prefix": "Query: {query}\nPassages:",
    "passage": " <PLACEHOLDER>",
    "passage_with_text": " <PLACEHOLDER> {text}",
    "suffix": "\nRanking:",
    "chat": False,
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings of tiny encoders do not go into the user's cache."""
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """Eight lists of six passages in the plain form."""
    draw = random.Random(3)
    path = tmp_path / "lists.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(8):
            passages = [" ".join(draw.sample(WORDS, 5)) for _ in range(6)]
            ranking = draw.sample(range(6), 6)
            query = f"{' '.join(draw.sample(WORDS, 2))} {number}"
            file.write(json.dumps({"query": query, "passages": passages, "ranking": ranking}) + "\n")
    return path


@pytest.fixture
def make_settings(tiny_llm: str, tiny_encoder: str, lists: Path) -> Callable[..., Settings]:
    """Return settings of a stage on the tiny models; sections given are laid over these."""

    def make(stage: Stage, **changes: Any) -> Settings:
        content: dict[str, Any] = {
            "llm": {"model": tiny_llm, "dtype": "float32", "attention": "eager"},
            "encoder": {"model": tiny_encoder},
            "data": {"train": str(lists), "validation": str(lists)},
            "prompt": PROMPT,
            "projector": {"scale": 0.3},
            "tune": "lora",
            "lora": {"rank": 4, "alpha": 8, "dropout": 0, "target_modules": "all-linear"},
            "loss": {"with_text": False},
            "optimizer": {"learning_rate": 3e-3, "batch_size": 4, "max_steps": 4},
            "log_every": 1,
        }
        for key, value in changes.items():
            both = isinstance(value, dict) and isinstance(content.get(key), dict)
            content[key] = {**content[key], **value} if both else value
        return STAGES[stage].model_validate(content)

    return make


@contextmanager
def killed_in_the_second_step() -> Iterator[None]:
    """Kill the training of the `with` block in its second step."""

    class Killed(BaseException):
        pass

    step, calls = trainer.PERankTrainer.training_step, iter(range(100))

    def killing(self: Any, *arguments: Any, **options: Any) -> Any:
        if next(calls) == 1:
            raise Killed
        return step(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.PERankTrainer, "training_step", killing)
        with pytest.raises(Killed):
            yield
