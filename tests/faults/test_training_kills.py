"""A training that was killed anywhere, or whose states were damaged, ends as an uninterrupted one does."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
from safetensors.torch import load_file

from rerankers.errors import InputError, RerankbenchError, StoreError
from rerankers.files.folder_lock import FolderLock
from rerankers.training import trainer
from rerankers.training.checkpoints.folders import atomic_folder
from rerankers.training.result_folder import seal_state
from rerankers.training.run import train
from rerankers.training.settings import STAGES
from tests.faults.injector import KILLED, Fault, disturbed, trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers.training.settings import Settings

NIGHTLY = os.environ.get("RERANKBENCH_HYPOTHESIS") == "nightly"
WORDS = ["harbour", "pilot", "hive", "frost", "orchard", "violin", "maple", "sand", "press", "letter", "fox"]
STEPS = 4
TRAINING = "rerankers.training"


class KilledError(BaseException):
    """Stands for a kill: nothing in the code may catch it."""


@pytest.fixture
def settings(
    tiny_llm: str, tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Settings]:
    """Return settings of a training with dropout over eight lists of five passages."""
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))
    draw = random.Random(3)
    lists = tmp_path / "lists.jsonl"
    with lists.open("w") as file:
        for number in range(8):
            passages = [" ".join(draw.sample(WORDS, 4)) for _ in range(5)]
            record = {"query": f"fox {number}", "passages": passages, "ranking": draw.sample(range(5), 5)}
            file.write(json.dumps(record) + "\n")

    def make(**changes: Any) -> Settings:
        content: dict[str, Any] = {
            "llm": {"model": tiny_llm, "dtype": "float32", "attention": "eager"},
            "encoder": {"model": tiny_encoder},
            "data": {"train": str(lists), "validation": str(lists), "shuffle": True},
            "tune": "lora",
            "lora": {"rank": 2, "alpha": 4, "dropout": 0.3, "target_modules": ["q_proj", "v_proj"]},
            "loss": {"with_text": False},
            "optimizer": {"learning_rate": 3e-2, "batch_size": 4, "max_steps": STEPS},
            "log_every": 1,
            "save_every": 2,
            "evaluate_every": 1,
        }
        return STAGES["rank"].model_validate({**content, **changes})

    return make


def trained(settings: Settings, folder: Path, messages: list[str] | None = None) -> None:
    train("rank", settings, folder, (messages if messages is not None else []).append, use_cpu=True)


def losses(folder: Path) -> list[tuple[int, float]]:
    """Step and loss of every line of the log that has a loss."""
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [(line["step"], round(line["loss"], 5)) for line in lines if "loss" in line]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors") | load_file(folder / "projector.safetensors")


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.allclose(left[name], right[name], atol=1e-6) for name in left | right)


def killing_at(patch: pytest.MonkeyPatch, moment: int) -> list[str]:
    """Kill before the training step, the checkpoint or the end of a state that comes as number `moment`."""
    passed: list[str] = []

    def counted(act: Callable[..., Any], name: str) -> Callable[..., Any]:
        def acting(*arguments: Any, **options: Any) -> Any:
            passed.append(name)
            if len(passed) == moment + 1:
                raise KilledError
            return act(*arguments, **options)

        return acting

    step = trainer.PERankTrainer.training_step
    patch.setattr(trainer.PERankTrainer, "training_step", counted(step, "step"))
    patch.setattr(f"{TRAINING}.checkpoints.manager.atomic_folder", counted(atomic_folder, "checkpoint"))
    patch.setattr(f"{TRAINING}.monitoring.log.seal_state", counted(seal_state, "state"))
    return passed


def test_a_training_goes_on_alike_from_every_moment_at_which_it_can_be_killed(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        moments = killing_at(patch, -1)
        trained(settings(), tmp_path / "whole")
    assert moments.count("step") == STEPS
    assert moments.count("state") == STEPS / 2
    assert moments.count("checkpoint") >= 2  # the best and the last one
    last = len(moments) - 1
    tried = range(last + 1) if NIGHTLY else (moments.index("checkpoint") + 1, moments.index("state"), last)
    for moment in tried:
        folder = tmp_path / f"killed-{moment}"
        with pytest.MonkeyPatch.context() as patch:
            killing_at(patch, moment)
            with pytest.raises(KilledError):
                trained(settings(), folder)
        with (folder / "log.jsonl").open("a") as log:
            log.write('{"step": 1, "lo')  # a line that the kill tore
        trained(settings(), folder)
        assert [step for step, _ in losses(folder)] == list(range(1, STEPS + 1))
        assert losses(folder) == losses(tmp_path / "whole")
        for name in ("best", "last"):
            assert same(weights(folder / name), weights(tmp_path / "whole" / name)), (moment, name)


def test_evaluating_more_often_changes_nothing_that_is_learnt(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    for interval in (1, 3):
        trained(settings(evaluate_every=interval), tmp_path / str(interval))
    assert losses(tmp_path / "1") == losses(tmp_path / "3")


def test_a_damaged_state_gives_way_to_the_one_before_it_and_the_last_is_refused(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    name = "optimizer.pt"
    trained(settings(), tmp_path / "whole")
    folder = tmp_path / "damaged"
    trained(settings(), folder)
    newest, before = folder / "states" / "checkpoint-4", folder / "states" / "checkpoint-2"
    (newest / name).unlink()
    messages: list[str] = []
    trained(settings(), folder, messages)
    assert any("checkpoint-4" in line and name in line for line in messages)
    assert losses(folder) == losses(tmp_path / "whole")
    for state in (newest, before):
        content = (state / name).read_bytes()
        (state / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=r"checkpoint-2.*begin anew"):
        trained(settings(), folder)


def test_two_trainings_never_share_a_folder(settings: Callable[..., Settings], tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from rerankers.files.folder_lock import FolderLock\n"
        "with FolderLock(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with pytest.raises(StoreError, match=f"process {other.pid} is writing here"):
            trained(settings(), tmp_path / "run")
        other.communicate("")
    with FolderLock(tmp_path / "run"):
        pass


def test_the_files_of_a_checkpoint_are_as_readable_as_any_other(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    trained(settings(), tmp_path / "run")
    (tmp_path / "other").touch()
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "run" / "last").iterdir()}
    assert modes == {(tmp_path / "other").stat().st_mode & 0o777}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["kill", "full"])
def test_a_training_disturbed_at_any_file_operation_ends_as_an_undisturbed_one(
    settings: Callable[..., Settings], tmp_path: Path, kind: Literal["kill", "full"]
) -> None:
    chosen, folder = settings(), tmp_path / "run"

    def work() -> int:
        torch.set_num_threads(1)  # a child has none of its parent's threads
        try:
            trained(chosen, folder)
        except (RerankbenchError, OSError, RuntimeError) as error:  # the last two are torch's, on a full disk
            print(f"rerankbench: {error}", file=sys.stderr)
            return 1
        return 0

    undisturbed = trace(work, [folder])
    assert undisturbed.status == 0, undisturbed.said
    expected, whole = losses(folder), weights(folder / "last")
    count = len(undisturbed.operations)
    inside = count // 3 if kind == "kill" else 2 * count // 3
    tried = range(1, count + 1) if NIGHTLY else (2, inside, count - 1)
    for place in tried:
        shutil.rmtree(folder)
        ended = disturbed(work, [folder], Fault(kind, place))
        where = f"{place}: {undisturbed.operations[place - 1]}: {ended.said}"
        # what only removes and renames needs no room
        assert ended.status in ((KILLED,) if kind == "kill" else (0, 1)), where
        assert "Traceback" not in ended.said, where
        assert disturbed(work, [folder], None).status == 0, where
        assert losses(folder) == expected, where
        assert same(weights(folder / "last"), whole), where
