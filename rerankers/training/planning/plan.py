"""The plan of a training: batch, steps, parameters, truncation, memory, and the score of step 0.

It is shown before the first step and written to `plan.json` in the training's folder, from which the page of
curves takes it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rerankers.files.writing import replace_file
from rerankers.training.measures import JUDGED, TEACHER
from rerankers.training.result_folder import PLAN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rerankers.training.measures import HeldOutLists
    from rerankers.training.planning.memory import Memory
    from rerankers.training.planning.truncation import Truncation
    from rerankers.training.setup import Setup


@dataclass(frozen=True, slots=True)
class Plan:
    """The figures of a training before its first step.

    Attributes:
        processes: of the training.
        batch_size: records of one forward pass of one process.
        accumulation: forward passes a step.
        recipe_batch: records a step that the recipe was made for; None where it does not say.
        steps: optimizer steps.
        epochs: passes over the data.
        records: records of one pass.
        trained_parameters: how many learn.
        parameters: how many there are.
        projector_rates: peak rates of the projector's layers that learn slower than the rest.
        truncations: counts of the texts that are cut.
        memory: on one device; None where weights are spread over devices.
        held_out_lists: lists to evaluate on.
        judged_lists: those of them with judgements.
        model: measures of the model before its first step; empty where nothing is evaluated.
        references: the same of the first stage's order, the teacher's and chance.
    """

    processes: int
    batch_size: int
    accumulation: int
    recipe_batch: int | None
    steps: int
    epochs: float
    records: int
    trained_parameters: int
    parameters: int
    projector_rates: dict[str, float] = field(default_factory=dict)
    truncations: Sequence[Truncation] = ()
    memory: Memory | None = None
    held_out_lists: int = 0
    judged_lists: int = 0
    model: dict[str, float] = field(default_factory=dict)
    references: dict[str, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, setup: Setup, processes: int, memory: Memory | None) -> Plan:
        """Return the plan of a training from its parts, the scores of held-out lists not filled in yet."""
        optimizer, visits, weights = setup.settings.optimizer, setup.visits, list(setup.model.parameters())
        return cls(
            processes=processes,
            batch_size=optimizer.batch_size,
            accumulation=optimizer.accumulation,
            recipe_batch=optimizer.effective_batch,
            steps=len(visits) // visits.step_size,
            epochs=len(visits) / visits.epoch_size,
            records=visits.epoch_size,
            trained_parameters=sum(weight.numel() for weight in weights if weight.requires_grad),
            parameters=sum(weight.numel() for weight in weights),
            projector_rates=dict(setup.projector_rates),
            truncations=setup.truncations,
            memory=memory,
        )

    @property
    def effective_batch(self) -> int:
        """Number of records in an optimizer step."""
        return self.processes * self.accumulation * self.batch_size

    def lines(self) -> list[str]:
        """Return the plan as lines for people, warnings included and scores left out."""
        several = "es" if self.processes > 1 else ""
        lines = [
            f"{self.processes} process{several} x accumulation {self.accumulation} x batch "
            f"{self.batch_size} = {self.effective_batch} records a step",
            f"{self.steps} steps, {self.epochs:.3g} epochs of {self.records} records",
            f"{self.trained_parameters:,} of {self.parameters:,} parameters are trained",
        ]
        if self.projector_rates:
            slower = ", ".join(f"{name} at {rate:.2g}" for name, rate in self.projector_rates.items())
            lines.append(f"projector.step_limit: {slower}")
        lines += map(str, self.truncations)
        if self.recipe_batch and self.recipe_batch != self.effective_batch:
            lines.insert(1, self._other_batch(self.recipe_batch))
        if self.memory is not None:
            lines.append(str(self.memory))
            if self.memory.is_too_much:
                lines.append(
                    "warning: this is more memory than is free. Lower optimizer.batch_size and raise "
                    "optimizer.accumulation, or set llm.gradient_checkpointing"
                )
        return lines

    def _other_batch(self, recipe_batch: int) -> str:
        """Return the warning that a step has another number of records than the recipe's,
        with the setting to change.
        """
        accumulation, rest = divmod(recipe_batch, self.processes * self.batch_size)
        advice = f"optimizer.accumulation: {accumulation}"
        if rest or not accumulation:
            advice = f"optimizer.batch_size: {max(1, recipe_batch // (self.processes * self.accumulation))}"
        rate = math.sqrt(self.effective_batch / recipe_batch)
        return (
            f"warning: the recipe was made for {recipe_batch} records a step, not {self.effective_batch}. "
            f"Set {advice}, or multiply optimizer.learning_rate by about {rate:.2g} (the root of the ratio)"
        )

    def score_lines(self) -> list[str]:
        """Return lines with the model's score before the first step beside those of other orders.

        None without lists.
        """
        lines = []
        for measure, count, against in (
            (TEACHER, self.held_out_lists, "against the teacher's order"),
            (JUDGED, self.judged_lists, "against judgements"),
        ):
            if measure in self.model:
                others = ", ".join(f"{name} {means[measure]:.4f}" for name, means in self.references.items())
                lines.append(
                    f"step 0: nDCG@10 {self.model[measure]:.4f} on {count} held-out lists {against}; {others}"
                )
        return lines

    def with_scores(self, lists: HeldOutLists, model: dict[str, float]) -> Plan:
        """Return a copy with the scores on held-out lists before the first step.

        Args:
            lists: the held-out lists, from which the scores of other orders (first stage, teacher, chance)
                come.
            model: measures of the model before its first step.
        """
        return replace(
            self,
            held_out_lists=len(lists.rankings),
            judged_lists=lists.judged,
            model=model,
            references=lists.references(),
        )

    def write(self, folder: Path) -> None:
        """Write `plan.json` into the training's folder."""
        values: dict[str, Any] = asdict(self)
        values["effective_batch"] = self.effective_batch
        if self.memory is not None:
            values["memory"]["total"] = self.memory.total
        values["lines"] = [*self.lines(), *self.score_lines()]
        replace_file(folder / PLAN, json.dumps(values, indent=2) + "\n")
