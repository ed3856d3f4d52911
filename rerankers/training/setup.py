"""The parts that every kind of training is put together from, before its first step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from rerankers.errors import InputError
from rerankers.training.data.batches import Visits, visits_of_epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import torch
    from transformers import TrainingArguments

    from rerankers.training.checkpoints.card import Usage
    from rerankers.training.checkpoints.provenance import BaseModel
    from rerankers.training.data.examples import Examples
    from rerankers.training.measures import HeldOutLists
    from rerankers.training.planning.truncation import Truncation
    from rerankers.training.reconstruction import Reconstruction
    from rerankers.training.settings import Stage, TrainingSettings

    Batcher = Callable[[Sequence[tuple[int, Any]]], dict[str, torch.Tensor]]


class HeldOut(Protocol):
    """Held-out lists that a model in training ranks."""

    def __len__(self) -> int:
        """Return the number of lists."""

    @property
    def lists(self) -> HeldOutLists:
        """Return the references that orders of the lists are measured against."""

    def orders(self, model: Any) -> list[list[int]]:
        """Return the model's order of each list: positions of its passages, best first.

        The model stays as it was.
        """

    def orders_by_forward(self, model: torch.nn.Module, device: torch.device) -> list[list[int]]:
        """Return the same as `orders`, of a model whose weights are spread over devices.

        Raises:
            InputError: this kind of model cannot be scored so.
        """


class WholeModelValidation:
    """The base of held-out lists that only a model in one piece can rank."""

    def orders_by_forward(self, model: torch.nn.Module, device: torch.device) -> list[list[int]]:
        """Raise an error, since the weights of the model are spread over devices.

        Raises:
            InputError: always.
        """
        raise InputError(
            "data.validation: held-out lists cannot be scored with FSDP or DeepSpeed. Leave it out, or train "
            "in whole copies (DDP)."
        )


class CheckpointWriter(Protocol):
    """A writer of one training's checkpoints, in the form that its reranker loads."""

    @property
    def usage(self) -> Usage:
        """The reranker and the options that load the checkpoints."""

    def models(self) -> list[BaseModel]:
        """Return the models that the training was made from, with revisions and licences."""

    def started_from(self) -> dict[str, Any] | None:
        """Return the provenance of the checkpoint that the training starts from; None without one."""

    def write(self, folder: Path, state: Mapping[str, torch.Tensor], training: dict[str, Any]) -> None:
        """Write a checkpoint's files into an empty folder.

        Args:
            folder: of the checkpoint.
            state: all weights of the trained model by name.
            training: the checkpoint's provenance: settings, data, step and scores.
        """

    def read(self, folder: Path) -> dict[str, Any]:
        """Return the provenance (`training`) of a checkpoint that was written."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The parts of one training, of any kind of model.

    Attributes:
        settings: as given, with what the start decides filled in.
        model: an `nn.Module` whose forward pass returns `loss` and `parts`, and whose attribute `merger` is
            None or merges the adapter once a step.
        visits: training data in order.
        collator: makes batches of visits.
        validation: held-out lists; None for none.
        writer: of the checkpoints.
        reconstruction: held-out passages to rebuild; None for none.
        truncations: counts of the texts that are cut.
        projector_rates: learning rates of the projector's parameters that are not the training's, by name.
    """

    settings: TrainingSettings
    model: Any
    visits: Visits
    collator: Batcher
    validation: HeldOut | None
    writer: CheckpointWriter
    reconstruction: Reconstruction | None = None
    truncations: Sequence[Truncation] = ()
    projector_rates: Mapping[str, float] = field(default_factory=dict)


class SetUp(Protocol):
    """A function that reads the data of a training, loads its models, and returns its parts."""

    def __call__(
        self,
        stage: Stage,
        settings: Any,
        folder: Path,
        say: Callable[[str], None],
        arguments: TrainingArguments,
    ) -> Setup:
        """Put together a training; data are read before models load, since that takes seconds.

        Args:
            stage: what is trained.
            settings: of that stage.
            folder: result folder, which must not hold another training.
            say: shows one line to a person.
            arguments: device and processes.

        Raises:
            InputError: the data cannot be read, or the folder holds another training.
            MissingExtraError: an optional dependency that the settings need is not installed.
            ModelError: a model does not load, or does not fit the training.
        """


def all_visits(settings: TrainingSettings, examples: Examples, processes: int) -> Visits:
    """Return the training data in order for `max_steps` steps, or else for as many as the epochs take.

    Args:
        settings: of the training.
        examples: its records.
        processes: that train together.
    """
    optimizer = settings.optimizer
    step_size = optimizer.batch_size * optimizer.accumulation * processes
    epoch = visits_of_epoch(len(examples.lengths), step_size)
    return Visits(
        examples,
        batch_size=optimizer.batch_size,
        step_size=step_size,
        steps=optimizer.max_steps or max(1, round(optimizer.epochs * epoch / step_size)),
        seed=settings.seed,
    )
