"""While a training runs: bars and lines, curves, early stopping, and a log that no resume repeats."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
import xml.etree.ElementTree as ET
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from rerankers.errors import MissingExtraError
from rerankers.progress import shown
from rerankers.training import trainer as trainers
from rerankers.training.monitoring.curves import draw_curves
from rerankers.training.monitoring.drawing import Panel, draw, nice_ticks
from rerankers.training.monitoring.stopping import has_stalled
from rerankers.training.run import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers.training.evaluation import Validation
    from rerankers.training.run import Outcome
    from rerankers.training.settings import Settings

    Make = Callable[..., Settings]


def trained(settings: Settings, folder: Path, messages: list[str] | None = None) -> Outcome:
    return train("rank", settings, folder, (messages if messages is not None else []).append, use_cpu=True)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_off_a_terminal_each_line_of_the_log_tells_the_time_left(make_settings: Make, tmp_path: Path) -> None:
    messages: list[str] = []
    trained(make_settings("rank"), tmp_path / "run", messages)
    steps = [line for line in messages if re.match(r"step [1-4] of 4: loss", line)]
    assert len(steps) == 4
    assert all(re.search(r"about [\d.]+ s left$", line) for line in steps[:3])
    assert "left" not in steps[3]


def test_on_a_terminal_a_bar_shows_steps_and_time_left(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))  # rows and columns
    messages: list[str] = []
    parts: list[bytes] = []

    def read_all() -> None:
        with suppress(OSError):  # the end of a terminal
            while part := os.read(reader, 4096):
                parts.append(part)

    reading = Thread(target=read_all)
    reading.start()
    with monkeypatch.context() as patch, os.fdopen(writer, "w") as terminal, shown():
        patch.setattr(sys, "stderr", terminal)
        patch.setattr("rerankers.progress.display.SILENT_SECONDS", 0.0)
        patch.setattr("rerankers.progress.display._DRAW_SECONDS", 0.0)
        trained(make_settings("rank"), tmp_path / "run", messages)
    reading.join()
    os.close(reader)
    screen = b"".join(parts).decode()
    assert re.search(r"\[#{10}\.{10}\] training, loss [\d.]+: 2 of 4, about [\d.]+ s left", screen)
    assert not any("left" in line for line in messages)


@pytest.mark.parametrize(
    ("scores", "patience", "min_gain", "stalled"),
    [
        ([0.5], 1, 0.0, False),
        ([0.5, 0.5], 1, 0.0, True),
        ([0.5, 0.4, 0.6], 2, 0.0, False),
        ([0.5, 0.4, 0.5], 2, 0.0, True),
        ([0.5, 0.505, 0.509], 2, 0.01, True),
        ([0.5, 0.505, 0.511], 2, 0.01, False),
    ],
)
def test_patience_ends_where_no_evaluation_is_a_gain(
    scores: list[float], patience: int, min_gain: float, stalled: bool
) -> None:
    assert has_stalled(scores, patience, min_gain) is stalled


class KilledError(BaseException):
    """Stands for a kill: nothing in the code may catch it."""


def test_early_stopping_keeps_the_best_checkpoint_and_a_kill_changes_nothing(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {0: 0.1, 1: 0.3, 2: 0.5, 3: 0.4, 4: 0.5, 5: 0.9, 6: 0.9}

    def scripted(self: trainers.PERankTrainer, validation: Validation) -> dict[str, float]:
        return {"ndcg@10": scores[self.state.global_step]}

    monkeypatch.setattr(trainers.PERankTrainer, "measured", scripted)
    settings = make_settings(
        "rank",
        optimizer={"max_steps": 6},
        evaluate_every=1,
        save_every=2,
        early_stopping={"patience": 2, "min_gain": 0.01},
    )
    messages: list[str] = []
    outcome = trained(settings, tmp_path / "whole", messages)
    assert (outcome.step, outcome.best_step, outcome.best_score) == (4, 2, 0.5)
    assert outcome.checkpoint == tmp_path / "whole" / "best"
    assert any("step 4: early stopping" in line and "at step 2" in line for line in messages)
    step = trainers.PERankTrainer.training_step

    def killing(self: Any, *arguments: Any, **options: Any) -> Any:
        if self.state.global_step == 3:
            raise KilledError
        return step(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(trainers.PERankTrainer, "training_step", killing)
        with pytest.raises(KilledError):
            trained(settings, tmp_path / "killed")
    for _ in range(2):  # the command of a training that ended changes nothing either
        again = trained(settings, tmp_path / "killed")
        assert (again.step, again.best_step) == (4, 2)
        for name in ("loss", "eval_ndcg@10"):
            whole, killed = (
                [(line["step"], round(line[name], 5)) for line in lines(tmp_path / run) if name in line]
                for run in ("whole", "killed")
            )
            assert killed == whole


def test_early_stopping_needs_evaluations(make_settings: Make) -> None:
    with pytest.raises(ValueError, match="early_stopping needs evaluate_every"):
        make_settings("rank", early_stopping={"patience": 2})


def test_running_a_finished_training_again_repeats_no_step(make_settings: Make, tmp_path: Path) -> None:
    for _ in range(2):
        trained(make_settings("rank", save_every=2), tmp_path / "run")
    evaluated = [line["step"] for line in lines(tmp_path / "run") if "eval_ndcg@10" in line]
    assert evaluated == [0, 4]
    assert [line["step"] for line in lines(tmp_path / "run") if "loss" in line] == [1, 2, 3, 4]


def test_the_curves_are_pictures_and_a_page_that_fetches_nothing(make_settings: Make, tmp_path: Path) -> None:
    folder = tmp_path / "<script>alert(1)<" / "a & b"
    trained(make_settings("rank", evaluate_every=2), folder)
    picture = ET.fromstring((folder / "curves.svg").read_text())  # noqa: S314 - our own
    titles = " ".join(element.text or "" for element in picture.iter() if element.text)
    assert "loss" in titles
    assert "list_mle" in titles
    assert "dashed: input order" in titles
    polylines = [element for element in picture.iter() if element.tag.endswith("polyline")]
    assert [len((line.get("points") or "").split()) for line in polylines] == [4, 4, 3, 4, 4]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "training.html").read_text()
    assert "default-src 'none'" in page
    assert "a &amp; b" in page
    assert "<script" not in page
    assert not re.search(r"https?://", page)


def test_a_curve_that_left_all_numbers_can_still_be_drawn(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": NaN}\n{"torn": ')
    draw_curves(tmp_path)
    assert "polyline" in (tmp_path / "curves.svg").read_text()
    assert "nan" not in draw([Panel("x", {"y": [(1, float("inf"))]}, {})])


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.61, 0.64), (5.0, 5.0), (0.0, 0.0), (-3.0, 221.5)])
def test_ticks_are_few_round_and_enclose_the_values(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 7


def test_a_tracker_that_is_not_installed_is_one_line(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainers, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"report_to: wandb needs .*rerankbench\[wandb\]"):
        trained(make_settings("rank", report_to="wandb"), tmp_path / "run")
    assert not (tmp_path / "run" / "settings.json").exists()
