"""What an experiment comes down to: candidate pools, and cells to measure on each.

A cell's folder is a readable slug and a digest of everything that defines its results: the data by content,
the first stage, the depth, the options with local models by content, the file of a reranker that is
your own, and the protocol. A changed option is therefore a new cell, and a finished cell is never measured
again. Labels and measures define nothing: changing them changes no folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.datasets import BUNDLED, DatasetSpec
from rerankers.llm.options import CHANGES_NO_RESULT
from rerankers.models import find_model
from rerankers.paths import existing_path
from rerankers.registry import ROWS, source_of

if TYPE_CHECKING:
    from benchmarks.config import Experiment
    from benchmarks.record import Protocol
    from benchmarks.retrieval import FirstStageSpec

_WHOLE_FILE_BYTES = 256 << 20  # larger files are known by size, time and both ends


@dataclass(frozen=True, eq=False)
class PoolPlan:
    """Candidates to freeze.

    Attributes:
        key: digest of what defines the pool before it is built; `Pool.digest` is of what came out.
    """

    dataset: DatasetSpec
    first_stage: FirstStageSpec
    depth: int
    limit: int | None
    key: str

    @property
    def name(self) -> str:
        """A readable name, not a unique one."""
        return slug(f"{self.dataset_name}-{self.first_stage.kind}-{self.depth}")

    @property
    def dataset_name(self) -> str:
        """What the dataset is called before it is opened."""
        spec = self.dataset
        path = Path(spec.folder or spec.candidates or "")
        return spec.name or spec.id or path.name.removesuffix(".gz").removesuffix(".jsonl")


@dataclass(frozen=True, eq=False)
class CellPlan:
    """A system to measure on a pool.

    Attributes:
        name: the cell's folder.
        label: what tables call the system.
        options: for the reranker's constructor.
    """

    name: str
    pool: PoolPlan
    label: str
    reranker: str
    options: dict[str, Any]
    protocol: Protocol


def plan(experiment: Experiment) -> list[CellPlan]:
    """Cross the lists of an experiment; cells of one pool stand together, systems in the file's order."""
    pools = [
        PoolPlan(dataset, first_stage, depth, experiment.limit, key)
        for dataset in experiment.datasets
        for first_stage in experiment.first_stages
        for depth in experiment.depths
        for key in [_digest([_spec(dataset), _spec(first_stage), depth, experiment.limit])]
    ]
    cells = []
    for pool in pools:
        for spec in experiment.rerankers:
            for label, options in spec.variants():
                protocol = experiment.protocol
                own = [] if spec.name in ROWS else [_content_digest(source_of(spec.name))]
                digest = _digest([pool.key, spec.name, _by_content(options), protocol.identity(), *own])
                name = f"{pool.name}-{slug(spec.name)}-{digest[:8]}"
                cells.append(CellPlan(name, pool, label, spec.name, options, protocol))
    return cells


def _spec(spec: DatasetSpec | FirstStageSpec) -> Any:
    values = spec.identity() if isinstance(spec, DatasetSpec) else spec.model_dump()
    if values.get("id") == "bundled":
        values["id"] = str(BUNDLED)
    return _by_content({name: value for name, value in values.items() if name != "name"})


def _by_content(value: Any) -> Any:
    """What of these values defines results, with a digest of its content for each existing file or folder.

    A recording of answers, which grows while it is used, is left out with all else that changes no result.
    """
    if isinstance(value, dict):
        return {name: _by_content(item) for name, item in value.items() if name not in CHANGES_NO_RESULT}
    if isinstance(value, list | tuple):
        return [_by_content(item) for item in value]
    if isinstance(value, str) and value.startswith("bundled:"):
        return find_model(value).fingerprint
    if isinstance(value, str) and ("/" in value or "." in value):
        path = existing_path(value)
        if path is None:
            return value
        if path.is_file():
            return _content_digest(path)
        if path.is_dir() and path.resolve().parent != path.resolve():  # "/" is no data and no model
            files = sorted(file for file in path.rglob("*") if file.is_file())
            return [[str(file.relative_to(path)), _content_digest(file)] for file in files]
    return value


def _content_digest(path: Path) -> str:
    facts = path.stat()
    with path.open("rb") as file:
        if facts.st_size <= _WHOLE_FILE_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(f"{facts.st_size} {facts.st_mtime_ns}".encode())
        digest.update(file.read(1 << 20))
        file.seek(-(1 << 20), 2)
        digest.update(file.read())
        return digest.hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def slug(name: str) -> str:
    """A name as part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.") or "data"
