"""transformers' Trainer for PE-Rank: what to save, how to evaluate, what to log.

Accelerate decides how it runs: one device, DDP, FSDP or DeepSpeed. What is frozen is not saved.
"""

from __future__ import annotations

import json
import math
import random
import resource
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from rerankers.errors import InputError, ModelError
from rerankers.training.result_folder import begin_log, seal_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transformers import TrainerControl, TrainerState

    from rerankers.training.data.batches import Visits
    from rerankers.training.settings import TrainingSettings
    from rerankers.training.setup import Batcher, HeldOut


_FAR_ABOVE, _MANY_LINES = 1.5, 5  # times the first loss, lines of the log in a row: the training diverged


def training_arguments(
    settings: TrainingSettings, folder: Path, *, use_cpu: bool = False
) -> TrainingArguments:
    """Settings in transformers' words; `folder` holds the states from which training goes on."""
    optimizer = settings.optimizer
    use_cpu = use_cpu or not torch.accelerator.is_available()  # several processes need to be told
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=optimizer.batch_size,
        gradient_accumulation_steps=optimizer.accumulation,
        num_train_epochs=1,  # `Visits` holds all epochs
        learning_rate=optimizer.learning_rate,
        lr_scheduler_type=optimizer.schedule,
        warmup_steps=optimizer.warmup,
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.max_grad_norm,
        bf16=optimizer.bf16,
        seed=settings.seed,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=not use_cpu,
        ddp_find_unused_parameters=False,
        logging_strategy="steps",
        logging_steps=settings.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # it would wait for the device at every step
        eval_strategy="steps" if settings.evaluate_every and settings.data.validation else "no",
        eval_steps=settings.evaluate_every,
        save_strategy="steps",
        save_steps=settings.save_every,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        use_cpu=use_cpu,
    )


class PERankTrainer(Trainer):
    """Trains a model whose forward pass returns its loss and the parts of it; see `rerankers.training.setup`.

    Args:
        model: what is trained.
        arguments: see `training_arguments`.
        visits: training data.
        collator: makes batches of it.
        validation: lists to evaluate on; None for none.
        on_score: called with the step and the mean nDCG@10 after every evaluation, on all processes.
        log: JSONL file, one line a logging step.
        say: shows one line to a person.
        max_seconds: end after so many seconds.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        arguments: TrainingArguments,
        visits: Visits,
        collator: Batcher,
        validation: HeldOut | None,
        on_score: Callable[[int, float], None],
        log: Path,
        say: Callable[[str], None],
        max_seconds: float | None = None,
    ) -> None:
        self.validation, self._on_score = validation, on_score
        self._sums: dict[str, torch.Tensor] = {}
        self._summed = 0
        self._visits = visits
        self.clock = _Clock()
        super().__init__(
            model=model,
            args=arguments,
            data_collator=collator,
            train_dataset=visits,
            eval_dataset=[] if validation is not None else None,
            callbacks=[
                *([_Deadline(max_seconds)] if max_seconds else []),
                _Log(log, say, visits.step_size, self.clock),
                _Divergence(say),
            ],
        )
        self.remove_callback(PrinterCallback)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss; its parts are summed on the device until the next line of the log."""
        outputs = model(**inputs)
        for name, part in outputs["parts"].items():
            self._sums[name] = part + self._sums[name] if name in self._sums else part
        self._summed += 1
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log with the loss's parts, averaged since the last line over all processes, and epochs of data."""
        if "loss" in logs and self._sums:
            sums = torch.stack([total.float() for total in self._sums.values()])
            means: Any = self.accelerator.reduce(sums / self._summed, reduction="mean")
            logs |= dict(zip(self._sums, means.tolist(), strict=True))
            self._sums, self._summed = {}, 0
        share = self.state.epoch  # of all steps, since the training data holds every epoch
        self.state.epoch = self.state.global_step * self._visits.step_size / self._visits.epoch_size
        super().log(logs, start_time)
        self.state.epoch = share

    def _maybe_log_save_evaluate(self, *arguments: Any, **options: Any) -> None:
        """Keep the seconds of evaluating and saving, which are no training."""
        start = time.monotonic()
        super()._maybe_log_save_evaluate(*arguments, **options)
        self.clock.seconds_aside += time.monotonic() - start

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Mean nDCG@10 on the validation lists; see `evaluation`."""
        if self.validation is None:
            return {}
        with same_random_numbers():  # evaluating more often must not change what is learnt
            return self._evaluated(self.validation)

    def _evaluated(self, validation: HeldOut) -> dict[str, float]:
        if self.is_sharded:
            scores = validation.scores_by_forward(self.model_wrapped, self.args.device)
        else:
            scores = validation.scores(self.model)
        told = broadcast(torch.tensor(scores.mean(), dtype=torch.float64, device=self.args.device))
        score = float(told)  # the same on all processes, which decide on it
        metrics = {"eval_ndcg@10": score}
        self.log(dict(metrics))
        self._on_score(self.state.global_step, score)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def full_state(self) -> dict[str, torch.Tensor]:
        """All weights by name; to be called on all processes, complete on the main one."""
        whole: dict[str, torch.Tensor]
        if self.is_sharded:
            whole = self.accelerator.get_state_dict(self.model_wrapped)
        else:
            model: Any = self.model
            whole = model.state_dict()
        return whole

    @property
    def is_sharded(self) -> bool:
        """Whether weights are spread over devices."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save what learns."""
        model: Any = self.model
        held = model.state_dict() if state_dict is None else state_dict
        super()._save(output_dir, {name: held[name] for name in trained_names(model) if name in held})

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        missing = set(load_result.missing_keys) & set(trained_names(self.model))
        if missing or load_result.unexpected_keys:
            raise ModelError("the saved state is of another training; use another folder")

    def num_examples(self, dataloader: Any) -> int:
        """Visits in all."""
        return len(dataloader.dataset)


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """Leave every generator of random numbers after the block as it was before."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        yield
    random.setstate(python)
    np.random.set_state(numpy)


def trained_names(model: Any) -> list[str]:
    """Names of the parameters that learn."""
    return [name for name, weight in model.named_parameters() if weight.requires_grad]


class _Deadline(TrainerCallback):
    """Ends training after some seconds."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if time.monotonic() >= self._end:
            control.should_training_stop = True


class _Divergence(TrainerCallback):
    """Ends a training whose loss is not finite, or stays far above the first one."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._high = 0  # lines of the log in a row

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if not logs or "loss" not in logs:
            return
        loss, first = logs["loss"], next(line["loss"] for line in state.log_history if "loss" in line)
        self._high = self._high + 1 if loss > _FAR_ABOVE * first else 0
        advice = "Lower optimizer.learning_rate, lengthen optimizer.warmup or enlarge the batch"
        if not math.isfinite(loss):
            raise InputError(
                f"step {state.global_step}: the training diverged, its loss is {loss}. {advice}."
            )
        course = f"step {state.global_step}: the loss is {loss:.4g}, far above the first one ({first:.4g})"
        if self._high == _MANY_LINES:
            raise InputError(f"{course} for {_MANY_LINES} lines of the log: it diverged. {advice}.")
        if self._high and state.global_step >= state.max_steps:
            self._say(f"warning: {course} at the end: it diverged. {advice}.")


@dataclass(slots=True)
class _Clock:
    """Seconds spent on evaluating and saving since the last line of the log."""

    seconds_aside: float = 0.0


class _Log(TrainerCallback):
    """The JSONL file, lines for people, and the digests of saved states."""

    def __init__(self, path: Path, say: Callable[[str], None], step_size: int, clock: _Clock) -> None:
        self._path, self._say, self._step_size, self._clock = path, say, step_size, clock
        self._step, self._time = 0, 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._step, self._time = state.global_step, time.monotonic()
        self._clock.seconds_aside = 0.0
        if state.is_world_process_zero:
            begin_log(self._path, state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step >= state.max_steps or control.should_training_stop:
            control.should_log = True  # the last steps too

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            seal_state(Path(args.output_dir or "") / f"checkpoint-{state.global_step}")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        line: dict[str, object] = {"step": state.global_step, **logs}
        if "loss" in logs:
            now, steps = time.monotonic(), state.global_step - self._step
            seconds = now - self._time - self._clock.seconds_aside
            line["lists_per_second"] = round(steps * self._step_size / seconds, 3)
            line["peak_memory_bytes"] = _peak_memory()
            self._step, self._time = state.global_step, now
            self._clock.seconds_aside = 0.0
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._say(self._sentence(line, state))

    def _sentence(self, line: dict[str, object], state: TrainerState) -> str:
        named = {
            name: value for name, value in line.items() if name not in ("step", "peak_memory_bytes", "epoch")
        }
        told = ", ".join(f"{name} {value:.4g}" for name, value in named.items() if isinstance(value, float))
        return f"step {state.global_step} of {state.max_steps}: {told}"


def _peak_memory() -> int:
    """Bytes: of the device if it is CUDA, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
