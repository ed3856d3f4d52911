"""Shows the progress of a training: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from tqdm import tqdm
from transformers import TrainerCallback

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import TrainerControl, TrainerState, TrainingArguments


class TrainingProgress(TrainerCallback):
    """A Trainer callback that shows the steps of a training on standard error, from the main process only.

    Args:
        show_line: shows one line to a person.
    """

    def __init__(self, show_line: Callable[[str], None]) -> None:
        self._show_line = show_line
        self._bar: Any = None
        self._first_step, self._started = 0, 0.0

    def say(self, line: str) -> None:
        """Show one line, above the bar if there is one."""
        if self._bar is None:
            self._show_line(line)
            return
        with tqdm.external_write_mode(file=sys.stderr):
            self._show_line(line)

    def time_left(self, state: TrainerState) -> str:
        """Return a text such as `, about 03:12 left` for a plain line.

        "" beside a bar, or when no step is left.
        """
        steps, left = state.global_step - self._first_step, state.max_steps - state.global_step
        if self._bar is not None or steps < 1 or left < 1:
            return ""
        seconds = (time.monotonic() - self._started) / steps * left
        return f", about {tqdm.format_interval(seconds)} left"

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Open the bar if standard error is a terminal, and note when the training began."""
        self._first_step, self._started = state.global_step, time.monotonic()
        if state.is_world_process_zero and sys.stderr.isatty():
            self._bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                desc="training",
                unit="step",
                file=sys.stderr,
                dynamic_ncols=True,
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Move the bar to the current step."""
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Show the loss beside the bar."""
        if self._bar is not None and logs and "loss" in logs:
            self._bar.set_postfix(loss=f"{logs['loss']:.4g}")

    def close(self) -> None:
        """Close the bar; later lines are plain ones."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
