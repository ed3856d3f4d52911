"""Trainer callbacks that end a training early: time is up, the loss diverges, or the score no longer rises.

Each decides by the history that a saved state holds, so a resumed training ends where an uninterrupted
one does. Only the deadline counts anew in every process.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from rerankers.errors import InputError
from rerankers.training.measures import TEACHER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from transformers import TrainerControl, TrainerState, TrainingArguments

    from rerankers.training.settings import EarlyStoppingSettings

_FAR_ABOVE, _MANY_LINES = 1.5, 5  # times the first loss, lines of the log in a row: the training diverged
_ADVICE = "Lower optimizer.learning_rate, lengthen optimizer.warmup or enlarge the batch"


class Deadline(TrainerCallback):
    """A Trainer callback that ends training after some seconds."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell the Trainer to stop if the time is up."""
        if time.monotonic() >= self._end:
            control.should_training_stop = True


class Divergence(TrainerCallback):
    """A Trainer callback that raises an error if the loss is not finite, or stays far above the first one."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Check the logged loss, and warn if the training ends with it far above the first one.

        Raises:
            InputError: the training diverged.
        """
        if not logs or "loss" not in logs:
            return
        loss, losses = logs["loss"], [line["loss"] for line in state.log_history if "loss" in line]
        if not math.isfinite(loss):
            raise InputError(
                f"step {state.global_step}: the training diverged, its loss is {loss}. {_ADVICE}."
            )
        course = (
            f"step {state.global_step}: the loss is {loss:.4g}, far above the first one ({losses[0]:.4g})"
        )
        recent = [value > _FAR_ABOVE * losses[0] for value in losses[-_MANY_LINES:]]
        if len(recent) == _MANY_LINES and all(recent):
            raise InputError(f"{course} for {_MANY_LINES} lines of the log: it diverged. {_ADVICE}.")
        if recent[-1] and state.global_step >= state.max_steps:
            self._say(f"warning: {course} at the end: it diverged. {_ADVICE}.")


class EarlyStopping(TrainerCallback):
    """A Trainer callback that ends training once nDCG@10 on held-out lists no longer rises.

    Args:
        settings: how many evaluations, and how much a score has to rise.
        best: folder of the best checkpoint, to be named.
        say: shows one line to a person.
    """

    def __init__(self, settings: EarlyStoppingSettings, best: Path, say: Callable[[str], None]) -> None:
        self._settings, self._best, self._say = settings, best, say

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell the Trainer to stop, and show why, if the last evaluations brought no gain."""
        evaluations = [line for line in state.log_history if f"eval_{TEACHER}" in line]
        scores = [line[f"eval_{TEACHER}"] for line in evaluations]
        settings = self._settings
        if state.global_step >= state.max_steps or not has_stalled(
            scores, settings.patience, settings.min_gain
        ):
            return
        best = max(range(len(scores)), key=scores.__getitem__)
        self._say(
            f"step {state.global_step}: early stopping, no gain over {settings.min_gain:g} in "
            f"{settings.patience} evaluations. The best checkpoint is {self._best}: nDCG@10 "
            f"{scores[best]:.4f} at step {evaluations[best]['step']}"
        )
        control.should_training_stop = True
        control.should_save = False  # a state from here would train on


def has_stalled(scores: Sequence[float], patience: int, min_gain: float) -> bool:
    """Return whether none of the last `patience` scores was a gain: over the best one by `min_gain`.

    The best score is the last one that was a gain, so many small steps do add up to one.
    """
    best, waited = -math.inf, 0
    for score in scores:
        best, waited = (score, 0) if score > best + min_gain else (best, waited + 1)
    return waited >= patience
