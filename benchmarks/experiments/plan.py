"""Plans an experiment: the candidate sets to freeze, and the cells to measure on each.

A cell's folder is a readable slug and a digest of everything that defines its results: the data by content,
the first stage, the depth, the options with local models by content, the file of a reranker of the user's
own, and the protocol. A changed option is therefore a new cell, and a finished cell is never measured
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
from benchmarks.datasets.specs import OWN, DatasetSpec
from benchmarks.experiments.inputs import Inputs
from benchmarks.experiments.suites import fetch_suites
from benchmarks.first_stages import named
from benchmarks.first_stages.specs import Bm25, Hybrid, Named
from rerankers.files.fingerprints import file_digest
from rerankers.registry import METHODS, role_of, source_of, validated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.experiments.config import Experiment
    from benchmarks.first_stages.specs import FirstStageSpec
    from benchmarks.results.record import Protocol, SuiteMember


@dataclass(frozen=True, eq=False)
class PoolPlan:
    """A candidate set to freeze: dataset, first stage, depth and number of queries.

    Attributes:
        key: digest of these settings; unlike `Pool.digest`, known before retrieval.
        measures: the measures of its cells; the first is the headline.
        suite: the suite through which the dataset was named.
        is_timed: search for one query after the other and time each, as latency mode does; otherwise BM25
            searches for all queries at once. The candidates are the same.
    """

    dataset: DatasetSpec
    first_stage: FirstStageSpec
    depth: int
    limit: int | None
    key: str
    measures: tuple[str, ...] = ()
    suite: SuiteMember | None = None
    is_timed: bool = True

    @property
    def name(self) -> str:
        """A readable name, not necessarily unique."""
        return slug(f"{self.dataset_name}-{self.first_stage.kind}-{self.depth}")

    @property
    def dataset_name(self) -> str:
        """The dataset's name, known before it is opened."""
        spec = self.dataset
        if spec.documents is not None:
            return spec.name or Path(spec.documents).name.partition(".")[0]
        path = Path(spec.folder).resolve() if spec.folder else Path(spec.candidates or "")
        return spec.name or spec.id or path.name.removesuffix(".gz").removesuffix(".jsonl")


@dataclass(frozen=True, eq=False)
class CellPlan:
    """A cell to measure: one system on one candidate set, by one protocol.

    Attributes:
        name: name of the cell's folder.
        label: name of the system in tables, with the load if there are several.
        options: options of the reranker.
        instruction: the dataset's instruction; None if the reranker does not read it.
        reads_instruction: whether the reranker reads the instruction of the dataset or of its queries.
        content: the options, with local files and models by content.
        depends: further digests that define the results, such as of the reranker's own file.
        system: name of the system in tables, without the load.
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
        """Return the folder name of the same system on another candidate set, given the set's key."""
        digest = _digest([pool_key, self.reranker, self.content, self.protocol.identity(), *self.depends])
        return f"{self.pool.name}-{slug(self.reranker)}-{digest[:8]}"

    def at(self, protocol: Protocol, is_one_of_several: bool = True) -> CellPlan:
        """Return the cell that measures the same system by another protocol, such as at another load.

        Its label names the load if `is_one_of_several`.
        """
        load = protocol.served
        label = f"{self.system}, {load.short}" if load and is_one_of_several else self.system
        cell = replace(self, protocol=protocol, label=label)
        return replace(cell, name=cell.name_on(self.pool.key))


def plan(experiment: Experiment, inputs: Inputs | None = None) -> list[CellPlan]:
    """Expand an experiment into its cells: datasets x first stages x depths x rerankers x loads.

    Cells of one candidate set are consecutive, with systems in the file's order.

    Args:
        experiment: the experiment.
        inputs: collects digests of all local paths that the experiment names.
    """
    inputs = inputs or Inputs()
    fetch_suites(experiment.datasets)
    for dataset, _ in experiment.entries:  # further judgements are recorded, and define no candidate set
        inputs.by_content({"qrels": [path for path in dataset.further_judgements.values() if path != OWN]})
    pools = [
        PoolPlan(
            dataset=dataset,
            first_stage=first_stage,
            depth=depth,
            limit=limit,
            key=key,
            measures=experiment.measures_of(dataset),
            suite=dataset.suite,
            is_timed=experiment.protocol.mode == "latency" or not isinstance(first_stage, Bm25),
        )
        for dataset, limit in experiment.entries
        for first_stage in experiment.first_stages or dataset.first_stages
        for depth in experiment.depths
        for key in [_digest([_spec(dataset, inputs), _spec(first_stage, inputs), depth, limit])]
    ]
    cells = []
    loads = experiment.protocol.for_each_load()
    for pool in pools:
        for spec in experiment.rerankers:
            for label, options in spec.variants():
                own_digests = [] if spec.name in METHODS else [file_digest(source_of(spec.name))]
                needs = validated(spec.name, options)
                models = {model for model, _ in needs.models}
                referenced = inputs.of_models(models, options)
                content = inputs.by_content(needs.decisive(options), models)
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
    """Return whether a dataset has a relevance instruction, for all queries or by query."""
    return dataset.instruction is not None or dataset.instruction_field is not None


def unread_instructions(cells: Sequence[CellPlan]) -> list[str]:
    """Return a sentence for each dataset with an instruction that none of its rerankers reads."""
    with_instruction = {cell.pool.dataset_name for cell in cells if _has_instruction(cell.pool.dataset)}
    read = {cell.pool.dataset_name for cell in cells if cell.reads_instruction}
    return [
        f"{name}: no reranker of this experiment reads the dataset's instruction"
        for name in sorted(with_instruction - read)
    ]


def _spec(spec: DatasetSpec | FirstStageSpec, inputs: Inputs) -> Any:
    """Return the settings that define a dataset or a first stage, with local paths by content."""
    if isinstance(spec, Hybrid):
        return [spec.kind, spec.k, spec.part_depth, [_spec(part, inputs) for part in spec.parts]]
    values = spec.identity()
    if isinstance(spec, Named):
        values["options"] = named.validated(spec.name, spec.options).decisive(spec.options)
    if values.get("id") == "bundled":
        values["id"] = str(BUNDLED)
    content = inputs.by_content(values)
    code = None if isinstance(spec, DatasetSpec) else spec.own_code
    return content if code is None else [content, file_digest(source_of(code))]


def _digest(value: Any) -> str:
    """Return the first 16 hex digits of the sha256 of a value's JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def slug(name: str) -> str:
    """Return a name with all characters that may be unsafe in a folder name replaced by `-`."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.") or "data"
