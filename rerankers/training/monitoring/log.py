"""A Trainer callback that writes a training's log, shows its lines, draws curves and seals states."""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback

from rerankers.training.monitoring.curves import draw_curves
from rerankers.training.result_folder import LOG, begin_log, seal_state

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from rerankers.training.monitoring.progress import TrainingProgress

_SECONDS_BETWEEN_PICTURES = 20.0


@dataclass(slots=True)
class Clock:
    """A sum of the seconds spent on evaluating and saving since the last line of the log."""

    seconds_aside: float = 0.0


class TrainingLog(TrainerCallback):
    """A Trainer callback that appends lines to the log, shows them, and draws its curves now and then.

    A resumed training drops the lines behind its state first, and an evaluation that the log already has is
    not written again: no step stands twice.

    Args:
        folder: result folder of the training.
        progress: shows lines to people.
        records_per_step: records of one optimizer step.
        clock: of the seconds that are not training.
    """

    def __init__(
        self,
        folder: Path,
        progress: TrainingProgress,
        records_per_step: int,
        clock: Clock,
    ) -> None:
        self._folder, self._path = folder, folder / LOG
        self._progress, self._records_per_step = progress, records_per_step
        self._clock = clock
        self._step, self._time = 0, 0.0
        self._drawn = -math.inf
        self._evaluated: set[int] = set()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Remove from the log the lines that this training will write again, and start the clock."""
        self._step, self._time = state.global_step, time.monotonic()
        self._clock.seconds_aside = 0.0
        if state.is_world_process_zero:
            lines = begin_log(self._path, state.global_step)
            self._evaluated = {line["step"] for line in lines if "loss" not in line}

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Have a line logged after the last step, too."""
        if state.global_step >= state.max_steps or control.should_training_stop:
            control.should_log = True  # the last steps too

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Seal the saved state with digests, and draw the curves."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            seal_state(Path(args.output_dir or "") / f"checkpoint-{state.global_step}")
            self._draw()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Write the logged values as a line, with speed and memory, and show it."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        line: dict[str, object] = {"step": state.global_step, **logs}
        if "loss" in logs:
            now, steps = time.monotonic(), state.global_step - self._step
            seconds = now - self._time - self._clock.seconds_aside
            line["lists_per_second"] = round(steps * self._records_per_step / seconds, 3)
            line["peak_memory_bytes"] = _peak_memory()
            self._step, self._time = state.global_step, now
            self._clock.seconds_aside = 0.0
        if "loss" in logs or state.global_step not in self._evaluated:
            self._append(line)
        self._progress.say(_sentence(line, state) + self._progress.time_left(state))

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Draw the curves."""
        if state.is_world_process_zero:
            self._draw()

    def _draw(self) -> None:
        """Draw the curves, unless that was done in the last 20 seconds."""
        if time.monotonic() - self._drawn > _SECONDS_BETWEEN_PICTURES:
            draw_curves(self._folder)
            self._drawn = time.monotonic()

    def _append(self, line: dict[str, Any]) -> None:
        """Append a line to the log, and note its step if it is an evaluation."""
        if "loss" not in line:
            self._evaluated.add(line["step"])
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _sentence(line: dict[str, object], state: TrainerState) -> str:
    """Return a line of the log as text for people: step, and values with names."""
    named = {
        name: value for name, value in line.items() if name not in ("step", "peak_memory_bytes", "epoch")
    }
    values = ", ".join(f"{name} {value:.4g}" for name, value in named.items() if isinstance(value, float))
    return f"step {state.global_step} of {state.max_steps}: {values}"


def _peak_memory() -> int:
    """Return the peak memory in bytes: of the device if it is CUDA, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
