"""The plan of an experiment: candidate sets, and cells to measure on each.

A cell's folder is a readable slug and a digest of everything that defines its results: the data by content,
the first stage, the depth, the options with local models by content, the file of a reranker that is
your own, and the protocol. A changed option is therefore a new cell, and a finished cell is never measured
again. Labels and measures define nothing: changing them changes no folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.datasets.sources import BUNDLED
from benchmarks.datasets.specs import DatasetSpec
from benchmarks.experiments.inputs import Inputs
from benchmarks.experiments.suites import fetch_suites
from benchmarks.first_stages.specs import Hybrid
from rerankers.files.fingerprints import file_digest
from rerankers.registry import METHODS, role_of, source_of, validated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.experiments.config import Experiment
    from benchmarks.first_stages.specs import FirstStageSpec
    from benchmarks.results.record import Protocol, SuiteMember


@dataclass(frozen=True, eq=False)
class PoolPlan:
    """Candidates to freeze.

    Attributes:
        key: digest of what defines the pool before it is built; `Pool.digest` is of what came out.
        measures: of its cells; the first is the headline.
        suite: the suite that the dataset was named by.
    """

    dataset: DatasetSpec
    first_stage: FirstStageSpec
    depth: int
    limit: int | None
    key: str
    measures: tuple[str, ...] = ()
    suite: SuiteMember | None = None

    @property
    def name(self) -> str:
        """A readable name, not a unique one."""
        return slug(f"{self.dataset_name}-{self.first_stage.kind}-{self.depth}")

    @property
    def dataset_name(self) -> str:
        """Return the dataset's name before it is opened."""
        spec = self.dataset
        if spec.documents is not None:
            return spec.name or Path(spec.documents).name.partition(".")[0]
        path = Path(spec.folder).resolve() if spec.folder else Path(spec.candidates or "")
        return spec.name or spec.id or path.name.removesuffix(".gz").removesuffix(".jsonl")


@dataclass(frozen=True, eq=False)
class CellPlan:
    """A system to measure on a pool.

    Attributes:
        name: the cell's folder.
        label: what tables call the system.
        options: for the reranker's constructor.
        instruction: the dataset's, where the reranker reads it.
        reads_instruction: whether the reranker reads the dataset's instruction or those of its queries.
        content: the options, with local files and models by content.
        depends: what else defines the results beside candidates, options and protocol.
        system: what tables call the system where loads are not told apart.
    """

    name: str
    pool: PoolPlan
    label: str
    reranker: str
    options: dict[str, Any]
    protocol: Protocol
    instruction: str | None = None
    reads_instruction: bool = False
    content: Any = None
    depends: tuple[Any, ...] = ()
    system: str = ""

    def name_on(self, pool_key: str) -> str:
        """Return the folder that the same system has on other candidates of this dataset, by their key."""
        digest = _digest([pool_key, self.reranker, self.content, self.protocol.identity(), *self.depends])
        return f"{self.pool.name}-{slug(self.reranker)}-{digest[:8]}"

    def at(self, protocol: Protocol, is_one_of_several: bool = True) -> CellPlan:
        """Return the cell that measures the same system by another protocol, such as at another load."""
        load = protocol.served
        label = f"{self.system}, {load.short}" if load and is_one_of_several else self.system
        cell = replace(self, protocol=protocol, label=label)
        return replace(cell, name=cell.name_on(self.pool.key))


def plan(experiment: Experiment, inputs: Inputs | None = None) -> list[CellPlan]:
    """Cross the lists of an experiment; cells of one pool stand together, systems in the file's order.

    Args:
        experiment: what to run.
        inputs: takes in the content of every local path that the experiment names.
    """
    inputs = inputs or Inputs()
    fetch_suites(experiment.datasets)
    pools = [
        PoolPlan(dataset, first_stage, depth, limit, key, experiment.measures_of(dataset), dataset.suite)
        for dataset, limit in experiment.entries
        for first_stage in experiment.first_stages or dataset.first_stages
        for depth in experiment.depths
        for key in [_digest([_spec(dataset, inputs), _spec(first_stage, inputs), depth, limit])]
    ]
    cells = []
    loads = experiment.protocol.each()
    for pool in pools:
        for spec in experiment.rerankers:
            for label, options in spec.variants():
                own_digests = [] if spec.name in METHODS else [file_digest(source_of(spec.name))]
                needs = validated(spec.name, options)
                models = {model for model, _ in needs.models}
                referenced = inputs.of_models(models, options)
                content = inputs.by_content(options, models)
                instruction = pool.dataset.instruction if needs.reads_instruction else None
                is_read = needs.reads_instruction and _has_instruction(pool.dataset)
                read = [] if instruction is None else [{"instruction": instruction}]
                depends = (*own_digests, *referenced, *read)
                base = CellPlan("", pool, label, spec.name, options, loads[0], instruction, is_read)
                cell = replace(base, content=content, depends=depends, system=label)
                is_loaded = (
                    role_of(spec.name) == "system" and experiment.protocol.has_several_loads
                )  # of others the time is not shown
                cells += [cell.at(load, is_loaded) for load in (loads if is_loaded else loads[:1])]
    return cells


def _has_instruction(dataset: DatasetSpec) -> bool:
    return dataset.instruction is not None or dataset.instruction_field is not None


def unread_instructions(cells: Sequence[CellPlan]) -> list[str]:
    """Say of each dataset with an instruction that no reranker reads that it is left out."""
    named = {cell.pool.dataset_name for cell in cells if _has_instruction(cell.pool.dataset)}
    read = {cell.pool.dataset_name for cell in cells if cell.reads_instruction}
    return [
        f"{name}: no reranker of this experiment reads the dataset's instruction"
        for name in sorted(named - read)
    ]


def _spec(spec: DatasetSpec | FirstStageSpec, inputs: Inputs) -> Any:
    if isinstance(spec, Hybrid):
        return [spec.kind, spec.k, spec.part_depth, [_spec(part, inputs) for part in spec.parts]]
    values = spec.identity()
    if values.get("id") == "bundled":
        values["id"] = str(BUNDLED)
    content = inputs.by_content(values)
    code = None if isinstance(spec, DatasetSpec) else spec.own_code
    return content if code is None else [content, file_digest(source_of(code))]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def slug(name: str) -> str:
    """Return a name as part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.") or "data"
