"""A Trainer of transformers that saves only what learns, evaluates by ranking, and logs each loss.

Accelerate decides how it runs: one device, DDP, FSDP or DeepSpeed. Frozen weights are not saved.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import broadcast
from transformers import PrinterCallback, Trainer, TrainingArguments

from rerankers.errors import MissingExtraError, ModelError
from rerankers.training.monitoring.log import Clock, TrainingLog
from rerankers.training.monitoring.progress import TrainingProgress
from rerankers.training.monitoring.stopping import Deadline, Divergence, EarlyStopping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from transformers import TrainerCallback

    from rerankers.training.data.batches import Visits
    from rerankers.training.settings import TrainingSettings
    from rerankers.training.setup import Batcher, HeldOut

_TRACKERS = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
}  # packages, any of which will do


def training_arguments(
    settings: TrainingSettings, folder: Path, *, use_cpu: bool = False
) -> TrainingArguments:
    """Return a training's settings as transformers' `TrainingArguments`.

    Args:
        settings: of the training.
        folder: of the saved states, from which a killed training goes on.
        use_cpu: train on the CPU though there is a GPU.

    Raises:
        MissingExtraError: the package of `report_to` is not installed.
    """
    if settings.report_to and not any(find_spec(package) for package in _TRACKERS[settings.report_to]):
        raise MissingExtraError(f"report_to: {settings.report_to}", settings.report_to)
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
        report_to=settings.report_to or "none",
        disable_tqdm=True,
        use_cpu=use_cpu,
    )


class PERankTrainer(Trainer):
    """A Trainer for models whose forward pass returns the loss and its parts; see `rerankers.training.setup`.

    Args:
        model: what is trained.
        arguments: see `training_arguments`.
        visits: training data.
        collator: makes batches of it.
        validation: lists to evaluate on; None for none.
        on_evaluation: called with the step and the measures after every evaluation, on all processes.
        folder: result folder of the training.
        say: shows one line to a person.
        settings: when to end early.
        projector_rates: learning rates of the projector's parameters that are not the training's, by name.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        arguments: TrainingArguments,
        visits: Visits,
        collator: Batcher,
        validation: HeldOut | None,
        on_evaluation: Callable[[int, dict[str, float]], None],
        folder: Path,
        say: Callable[[str], None],
        settings: TrainingSettings,
        projector_rates: Mapping[str, float],
    ) -> None:
        self._projector_rates = projector_rates
        self.validation, self._on_evaluation = validation, on_evaluation
        self._sums: dict[str, torch.Tensor] = {}
        self._summed = 0
        self._visits = visits
        self.clock = Clock()
        self.progress = TrainingProgress(say)
        super().__init__(
            model=model,
            args=arguments,
            data_collator=collator,
            train_dataset=visits,
            eval_dataset=[] if validation is not None else None,
            callbacks=[
                self.progress,
                TrainingLog(folder, self.progress, visits.step_size, self.clock),
                *_reasons_to_stop(settings, folder / "best", self.progress.say),
            ],
        )
        self.remove_callback(PrinterCallback)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return AdamW, with separate parameter groups for the projector's layers that learn slower."""
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        rates = {f"projector.{name}": rate for name, rate in self._projector_rates.items()}
        named: Any = self.model if model is None else model
        for name, weight in named.named_parameters():
            rate = next((rate for ending, rate in rates.items() if name.endswith(ending)), None)
            group = next(
                (candidate for candidate in optimizer.param_groups if _holds(candidate, weight)), None
            )
            if rate is not None and group is not None:
                group["params"] = [other for other in group["params"] if other is not weight]
                optimizer.add_param_group({**group, "params": [weight], "lr": rate})
        optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
        return optimizer

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the loss of a batch, and keep its parts: they are summed until the next line of the log."""
        outputs = model(**inputs)
        for name, part in outputs["parts"].items():
            self._sums[name] = part + self._sums[name] if name in self._sums else part
        self._summed += 1
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log values with the means of the loss's parts since the last line, and with epochs of the data."""
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
        """Log, save and evaluate as transformers does; count the seconds as no training."""
        start = time.monotonic()
        super()._maybe_log_save_evaluate(*arguments, **options)
        self.clock.seconds_aside += time.monotonic() - start

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return nDCG@10 of the model on the held-out lists, by name in the log; empty without lists.

        It logs them, and leaves random numbers as they were.
        """
        if self.validation is None:
            return {}
        with same_random_numbers():  # evaluating more often must not change what is learnt
            return self._measure_and_log(self.validation)

    def measured(self, validation: HeldOut) -> dict[str, float]:
        """Return the measures of the model, as it is now, on held-out lists."""
        if self.is_sharded:
            orders = validation.orders_by_forward(self.model_wrapped, self.args.device)
        else:
            orders = validation.orders(self.model)
        return validation.lists.measure(orders)

    def _measure_and_log(self, validation: HeldOut) -> dict[str, float]:
        """Measure the model on held-out lists, log the measures, and return them by name in the log."""
        means = self.measured(validation)
        main = torch.tensor(list(means.values()), dtype=torch.float64, device=self.args.device)
        # the main process's on all processes, which decide on them
        means = dict(zip(means, broadcast(main).tolist(), strict=True))
        metrics = _prefixed(means)
        self.log(dict(metrics))
        self._on_evaluation(self.state.global_step, means)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def full_state(self) -> dict[str, torch.Tensor]:
        """Return all weights by name, complete on the main process; to be called on all processes."""
        whole: dict[str, torch.Tensor]
        if self.is_sharded:
            whole = self.accelerator.get_state_dict(self.model_wrapped)
        else:
            model: Any = self.model
            whole = model.state_dict()
        return whole

    @property
    def is_sharded(self) -> bool:
        """True if weights are spread over devices (FSDP or DeepSpeed)."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save the weights that learn, and leave the frozen ones out."""
        model: Any = self.model
        weights = model.state_dict() if state_dict is None else state_dict
        super()._save(output_dir, {name: weights[name] for name in trained_names(model) if name in weights})

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Raise a `ModelError` if a loaded state lacks weights that learn, or holds unknown ones."""
        missing = set(load_result.missing_keys) & set(trained_names(self.model))
        if missing or load_result.unexpected_keys:
            raise ModelError("the saved state is of another training; use another folder")

    def num_examples(self, dataloader: Any) -> int:
        """Return the length of the dataloader's dataset, which holds the examples of all epochs."""
        return len(dataloader.dataset)


def _holds(group: dict[str, Any], weight: torch.nn.Parameter) -> bool:
    """Return whether an optimizer's parameter group holds a weight."""
    return any(other is weight for other in group["params"])


def _prefixed(means: dict[str, float]) -> dict[str, float]:
    """Return measures with `eval_` before their names, as the log has them."""
    return {f"eval_{name}": value for name, value in means.items()}


def _reasons_to_stop(
    settings: TrainingSettings, best: Path, say: Callable[[str], None]
) -> list[TrainerCallback]:
    """Return the callbacks that end a training early: divergence, and those that the settings ask for."""
    reasons: list[TrainerCallback] = [Divergence(say)]
    if settings.optimizer.max_seconds:
        reasons.append(Deadline(settings.optimizer.max_seconds))
    if settings.early_stopping:
        reasons.append(EarlyStopping(settings.early_stopping, best, say))
    return reasons


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """Restore the random number generators of Python, NumPy and torch to their state before the block."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        yield
    random.setstate(python)
    np.random.set_state(numpy)


def trained_names(model: Any) -> list[str]:
    """Return the names of a model's parameters that learn."""
    return [name for name, weight in model.named_parameters() if weight.requires_grad]
