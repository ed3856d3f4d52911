"""Weights that FSDP spreads over two processes learn what whole ones in one process learn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import yaml
from safetensors.torch import load_file

from rerankers.training.run import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers.training.settings import Settings

    Make = Callable[..., Settings]

PROGRAM = Path(__file__).with_name("sharded_on_cpus.py")


def losses(folder: Path) -> dict[int, float]:
    """Loss by step."""
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def train_sharded(settings: Settings, first: Path, folder: Path) -> None:
    """Train in two processes with FSDP2; keep a copy as `first`, and go on from the state of step 2."""
    config = folder.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(settings.model_dump(mode="json", exclude_unset=True)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [str(PROGRAM), str(first), "train", "rank", str(config), "--out", str(folder)]
    environment = {
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_TRANSFORMER_CLS_TO_WRAP": "LlamaDecoderLayer",
        "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    }
    done = subprocess.run(
        [*launch, *command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_fsdp_learns_what_one_process_learns_saves_whole_checkpoints_and_goes_on(
    make_settings: Make, tmp_path: Path
) -> None:
    optimizer = {"learning_rate": 1e-3, "batch_size": 2, "accumulation": 2, "max_steps": 4}
    whole = make_settings("rank", tune="full", optimizer=optimizer, save_every=2)
    train("rank", whole, tmp_path / "alone", lambda _: None, use_cpu=True)
    # the other two lists of a step are the other process's
    sharded = make_settings("rank", tune="full", optimizer={**optimizer, "accumulation": 1}, save_every=2)
    first, again = tmp_path / "first", tmp_path / "sharded"
    train_sharded(sharded, first, again)
    expected = weights(tmp_path / "alone" / "last")
    for folder in (first, again):
        assert losses(folder) == pytest.approx(losses(tmp_path / "alone"), abs=1e-4)
        assert same(weights(folder / "last"), expected)


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """All weights of a checkpoint by file and name."""
    weights_by_name: dict[str, torch.Tensor] = {}
    for path in sorted(checkpoint.rglob("*.safetensors")):
        weights_by_name |= {f"{path.name}:{name}": weight for name, weight in load_file(path).items()}
    assert weights_by_name
    return weights_by_name


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Whether two checkpoints have the same weights, up to the order of sums."""
    return left.keys() == right.keys() and all(
        torch.allclose(left[name].float(), right[name].float(), atol=1e-4) for name in left
    )
