"""Shows the progress of a training: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from rerankers.progress import Activity
from rerankers.text.quantities import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import TrainerControl, TrainerState, TrainingArguments


class TrainingProgress(TrainerCallback):
    """A Trainer callback that announces the steps of a training, from the main process only.

    Args:
        show_line: shows one line to a person.
    """

    def __init__(self, show_line: Callable[[str], None]) -> None:
        self._show_line = show_line
        self._activity: Activity | None = None
        self._first_step, self._started = 0, 0.0

    def say(self, line: str) -> None:
        """Show one line."""
        self._show_line(line)

    def time_left(self, state: TrainerState) -> str:
        """Return a text such as `, about 3 min left` for a plain line.

        "" beside a bar, or when no step is left.
        """
        steps, left = state.global_step - self._first_step, state.max_steps - state.global_step
        if sys.stderr.isatty() or steps < 1 or left < 1:
            return ""
        seconds = (time.monotonic() - self._started) / steps * left
        return f", about {duration(seconds)} left"

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Begin the activity; off a terminal the training's own lines are enough, and it has no name."""
        self._first_step, self._started = state.global_step, time.monotonic()
        if state.is_world_process_zero:
            what = "training" if sys.stderr.isatty() else ""
            self._activity = Activity(what, state.max_steps, state.global_step)
            self._activity.__enter__()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Note the step."""
        if self._activity is not None:
            self._activity.advance(state.global_step - self._activity.done)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Show the loss beside the bar."""
        if self._activity is not None and self._activity.what and logs and "loss" in logs:
            self._activity.what = f"training, loss {logs['loss']:.4g}"

    def close(self) -> None:
        """End the activity."""
        if self._activity is not None:
            self._activity.__exit__(None, None, None)
            self._activity = None
