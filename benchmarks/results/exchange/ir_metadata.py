"""Metadata of an exported run, in a YAML file beside it.

The schema is ir_metadata's (Breuer, Keller and Schaer, "ir_metadata: An Extensible Metadata Schema for IR
Experiments", SIGIR 2022): platform, research goal, implementation, method, actor and data, after the PRIMAD
model. That paper also puts them into the run, as comments, which the programs that evaluate runs refuse.
Fields that the schema lacks stand under `rerankbench`, such as the label, by which the run is imported again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.datasets.readers import run_name
from rerankers.errors import InputError
from rerankers.files.writing import replace_file
from rerankers.registry import METHODS, implementation_of

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results.record import Record

SUFFIX = ".metadata.yaml"


def metadata_path(run: Path) -> Path:
    """Return the path of a run's metadata: `a.metadata.yaml` beside `a.trec` or `a.trec.gz`."""
    return run.with_name(run_name(run) + SUFFIX)


def write_metadata(run: Path, record: Record, qrels: str | None) -> Path:
    """Write a record as ir_metadata in a YAML file beside its run; return the file's path.

    Args:
        run: path of the run.
        record: the cell's record.
        qrels: name of the judgement file beside the run; None without one.
    """
    import yaml

    path = metadata_path(run)
    content = _without_nothing(metadata(record, qrels))
    replace_file(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6))
    return path


def exported_label(run: Path) -> str | None:
    """Read the label from the metadata beside a run; None if there is no metadata file or no label in it.

    Raises:
        InputError: the metadata file cannot be read.
    """
    from benchmarks.experiments.files.marked_yaml import MarkedYaml

    path = metadata_path(run)
    if not path.is_file():
        return None
    try:
        content = MarkedYaml(path).content
    except InputError as error:
        raise InputError(f"{error}; or name the run: LABEL={run.name}") from error
    ours = content.get("rerankbench") if isinstance(content, dict) else None
    label = ours.get("label") if isinstance(ours, dict) else None
    return label if isinstance(label, str) else None


def metadata(record: Record, qrels: str | None = None) -> dict[str, Any]:
    """Convert a record to ir_metadata's fields; the platform is that of the cell's last session.

    Args:
        record: the cell's record.
        qrels: name of the judgement file beside the run; None without one.
    """
    environment = record.sessions[-1].environment if record.sessions else {}
    first_stage = str(record.first_stage.get("kind", "first stage"))
    reranker = record.system.reranker
    return {
        "tag": record.cell,
        "actor": {"role": None if record.is_imported else "experimenter"},
        "platform": _platform(environment, first_stage),
        "implementation": {
            "source": {
                "lang": None if record.is_imported else ["Python"],
                "commit": environment.get("git", {}).get("revision"),
            }
        },
        "method": {
            "automatic": True,
            "score ties": "none: scores strictly decrease",
            "retrieval": [
                {"name": first_stage, **_plain(record.first_stage, "kind", "name")},
                {
                    "name": record.system.label,
                    "method": implementation_of(reranker).replace(":", ".")
                    if reranker in METHODS
                    else reranker,
                    **_plain(record.system.options, "name", "method", "reranks"),
                    "reranks": first_stage,
                },
            ],
        },
        "data": {"test collection": {"name": record.dataset, "qrels": qrels}},
        "research goal": {"evaluation": {"reported measures": list(record.measures)}},
        "rerankbench": {
            "label": record.system.label,
            "schema version": record.schema_version,
            "candidate pool": record.pool,
            "depth": record.depth,
            "protocol": None if record.is_imported else record.protocol.model_dump(),
            "models": record.system.described,
        },
    }


def _platform(environment: dict[str, Any], first_stage: str) -> dict[str, Any]:
    """Convert a session's environment to ir_metadata's `platform`.

    Pyserini is named if BM25 was first stage.
    """
    cpu, gpus = environment.get("cpu", {}), environment.get("gpu", [])
    libraries = environment.get("libraries", {})
    kernel, _, architecture = environment.get("os", "").rpartition(" ")
    toolkit = [f"{name}=={libraries[name]}" for name in ("pyserini",) if name in libraries]
    return {
        "hardware": {
            "cpu": {
                "model": cpu.get("model"),
                "architecture": architecture,
                "number of cores": cpu.get("cores"),
            },
            "gpu": {
                "model": gpus[0]["model"] if gpus else None,
                "memory": _gigabytes(gpus[0]) if gpus else None,
                "number of devices": len(gpus) or None,
            },
            "ram": _gigabytes(cpu),
        },
        "operating system": {"kernel": kernel},
        "software": {
            "libraries": {"python": [f"{name}=={version}" for name, version in libraries.items()]},
            "retrieval toolkit": toolkit if first_stage == "bm25" else None,
        },
    }


def _gigabytes(described: dict[str, Any]) -> str | None:
    """Return a device's memory as `N GB`; None if it is unknown."""
    size = described.get("memory_bytes")
    return None if size is None else f"{size / 1e9:.0f} GB"


def _plain(values: dict[str, Any], *left_out: str) -> dict[str, Any]:
    """Return a dictionary without some of its keys."""
    return {name: value for name, value in values.items() if name not in left_out}


def _without_nothing(value: Any) -> Any:
    """Remove None and empty values from nested dictionaries and lists."""
    if isinstance(value, dict):
        inner = {name: _without_nothing(item) for name, item in value.items()}
        return {name: item for name, item in inner.items() if item not in (None, "", {}, [])}
    if isinstance(value, list | tuple):
        return [_without_nothing(item) for item in value]
    return value
