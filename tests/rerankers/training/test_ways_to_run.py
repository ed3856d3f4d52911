"""However a training runs, it learns the same: in several processes, with less memory, in bfloat16."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from rerankers.training.run import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers.training.settings import Settings, Stage

    Make = Callable[..., Settings]


def losses(folder: Path, name: str = "loss") -> list[float]:
    log_rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line[name] for line in log_rows if name in line]


def trained(stage: Stage, settings: Settings, folder: Path) -> list[float]:
    train(stage, settings, folder, lambda _: None, use_cpu=True)
    return losses(folder)


def test_two_processes_learn_what_one_learns(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings("rank", optimizer={"batch_size": 2, "accumulation": 2})
    alone = trained("rank", settings, tmp_path / "alone")
    config = tmp_path / "rank.yaml"
    content = settings.model_dump(mode="json", exclude_unset=True)
    content["optimizer"]["accumulation"] = 1  # the other two lists of a step are the other process's
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "benchmarks.cli", "train", "rank", str(config), "--out", str(tmp_path / "both")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [*launch, *command], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "both") == pytest.approx(alone, rel=1e-5)
    assert losses(tmp_path / "both", "list_mle") == pytest.approx(alone, rel=1e-5)  # the loss's only part
    assert done.stdout.count("next: ") == 1
    for name in ("adapter_model.safetensors", "projector.safetensors"):
        left, right = (load_file(tmp_path / run / "last" / name) for run in ("alone", "both"))
        assert all(torch.allclose(left[key], right[key], atol=1e-5) for key in left)


def test_processes_that_a_launcher_did_not_start_are_told(make_settings: Make, tmp_path: Path) -> None:
    config = tmp_path / "rank.yaml"
    config.write_text(yaml.safe_dump(make_settings("rank").model_dump(mode="json", exclude_unset=True)))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    command = ["-m", "benchmarks.cli", "train", "rank", str(config), "--out", str(tmp_path / "run")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, *command], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode != 0
    assert "accelerate launch --num_processes 2: it started one process" in done.stderr
    assert not (tmp_path / "run").exists()


def test_computing_activations_again_changes_no_loss(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings("rank")
    again = make_settings("rank", llm={"gradient_checkpointing": True})
    plain = trained("rank", settings, tmp_path / "plain")
    assert trained("rank", again, tmp_path / "again") == pytest.approx(plain, rel=1e-5)


def test_bfloat16_learns_nearly_the_same(make_settings: Make, tmp_path: Path) -> None:
    plain = trained("rank", make_settings("rank"), tmp_path / "plain")
    optimizer: dict[str, Any] = {"bf16": True}
    rounded = trained("rank", make_settings("rank", optimizer=optimizer), tmp_path / "rounded")
    assert rounded == pytest.approx(plain, rel=0.05)
    assert rounded != plain
