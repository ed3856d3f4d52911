"""Results in formats that others read: TREC runs with ir_metadata, JSONL, BEIR, and one tidy Parquet table.

A run's header is the YAML comment of ir_metadata (Breuer, Keller and Schaer, "ir_metadata: An Extensible
Metadata Schema for IR Experiments", SIGIR 2022): platform, research goal, implementation, method, actor and
data, after the PRIMAD model. What that schema has no name for stands under `rerankbench`. The table has a row
for each cell, query and repeat, and columns for what was varied and for what was measured.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.interchange import write_beir, write_ranked
from benchmarks.measures import Evaluator
from benchmarks.record import requests_per_second
from benchmarks.store import read_results
from benchmarks.utilisation import cell_utilisation
from rerankers.errors import InputError, MissingExtraError, StoreError
from rerankers.files import replace_file
from rerankers.registry import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.record import Record
    from benchmarks.store import CellResult, Results

Format = Literal["trec", "rank-llm", "rankgpt", "beir", "parquet"]
Row = dict[str, Any]


def export(folder: Path, format: Format, out: Path) -> list[Path]:  # noqa: A002 - the command's option
    """Write the finished cells of a result folder into another folder.

    Args:
        folder: a result folder.
        format: `trec` writes `<cell>.trec` for each cell, `rank-llm` and `rankgpt` write
            `<cell>.jsonl` with the texts, as those programs read them, `beir` a folder for each candidate
            pool, and `parquet` `queries.parquet`.
        out: made if it is not there; files of the same names are replaced.

    Returns:
        the files.

    Raises:
        InputError: there are no results, or none is finished.
        MissingExtraError: Parquet was asked for and pyarrow is not installed.
        StoreError: a result is damaged, or a file cannot be written.
    """
    results = read_results(folder)
    finished = [cell for cell in results.cells if cell.record.status == "done"]
    if not finished:
        raise InputError(f"{folder}: no cell is finished; run the experiment again to finish them")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{out}: cannot be made ({error.strerror}); choose another --out") from error
    if format == "parquet":
        return [_write_parquet(results, finished, out / "queries.parquet")]
    if format == "beir":
        pools = dict.fromkeys(cell.record.pool for cell in finished)
        return [write_beir(results.pool(digest), out / digest) for digest in pools]
    if format in ("rank-llm", "rankgpt"):
        return [
            write_ranked(
                format, results.pool(cell.record.pool), cell.rankings, out / f"{cell.record.cell}.jsonl"
            )
            for cell in finished
        ]
    files = []
    for cell in finished:
        files.append(out / f"{cell.record.cell}.trec")
        ranking = (folder / cell.record.cell / "ranking.trec").read_bytes()
        replace_file(files[-1], header(cell.record).encode() + ranking)
    return files


def header(record: Record) -> str:
    """A run's metadata as comment lines, from `# ir_metadata.start` to `# ir_metadata.end`."""
    import yaml

    text = yaml.safe_dump(
        _without_nothing(metadata(record)), sort_keys=False, allow_unicode=True, width=10**6
    )
    lines = ["ir_metadata.start", *text.splitlines(), "ir_metadata.end"]
    return "".join(f"# {line}\n" for line in lines)


def metadata(record: Record) -> dict[str, Any]:
    """A record in ir_metadata's names; the platform is that of the session that finished the cell."""
    seen = record.sessions[-1].environment if record.sessions else {}
    cpu, gpus, libraries = seen.get("cpu", {}), seen.get("gpu", []), seen.get("libraries", {})
    kernel, _, architecture = seen.get("os", "").rpartition(" ")
    first_stage = str(record.first_stage.get("kind", "first stage"))
    toolkit = [f"{name}=={libraries[name]}" for name in ("pyserini",) if name in libraries]
    row = ROWS.get(record.system.reranker)
    return {
        "tag": record.cell,
        "actor": {"role": None if record.is_imported else "experimenter"},
        "platform": {
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
        },
        "implementation": {
            "source": {
                "lang": None if record.is_imported else ["Python"],
                "commit": seen.get("git", {}).get("revision"),
            }
        },
        "method": {
            "automatic": True,
            "score ties": "none: scores strictly decrease",
            "retrieval": [
                {"name": first_stage, **_plain(record.first_stage, "kind", "name")},
                {
                    "name": record.system.label,
                    "method": row.target.replace(":", ".") if row else record.system.reranker,
                    **_plain(record.system.options, "name", "method", "reranks"),
                    "reranks": first_stage,
                },
            ],
        },
        "data": {"test collection": {"name": record.dataset}},
        "research goal": {"evaluation": {"reported measures": list(record.measures)}},
        "rerankbench": {
            "schema version": record.schema_version,
            "candidate pool": record.pool,
            "depth": record.depth,
            "protocol": None if record.is_imported else record.protocol.model_dump(),
            "models": record.system.described,
        },
    }


def _gigabytes(described: dict[str, Any]) -> str | None:
    size = described.get("memory_bytes")
    return None if size is None else f"{size / 1e9:.0f} GB"


def rows(results: Results, cell: CellResult) -> Iterator[Row]:
    """A row for each query and repeat of a cell; for each query of an imported run, without times."""
    record = cell.record
    pool = results.pool(record.pool)
    values = Evaluator(pool.qrels, record.measures).evaluate(cell.rankings.orders())
    factors = _factors(record)
    factors |= {f"utilisation.{stage}": share for stage, share in cell_utilisation(cell).items()}
    factors |= {"requests_per_second": requests_per_second(cell.rows)}

    def quality(query_id: str) -> Row:
        return {measure: by_query.get(query_id) for measure, by_query in values.items()}

    if record.is_imported:
        for query_id in cell.rankings:
            yield {**factors, "query_id": query_id, "repeat": 0, **quality(query_id)}
    for row in cell.rows:
        environment = record.sessions[row.session].environment
        gpus = environment.get("gpu") or [{}]
        usage = {name: count for name, count in row.usage.items() if isinstance(count, int | float)}
        yield {
            **factors,
            "host": environment.get("host"),
            "cpu": environment.get("cpu", {}).get("model"),
            "gpu": gpus[0].get("model"),
            "query_id": row.query_id,
            "repeat": row.repeat,
            "session": row.session,
            "total_seconds": row.total_seconds,
            "control_seconds": row.control_seconds,
            "arrived_seconds": row.arrived_seconds,
            "queued_seconds": row.queued_seconds,
            **{f"seconds.{stage}": seconds for stage, seconds in row.stage_seconds.items()},
            **{f"usage.{name}": count for name, count in usage.items()},
            **{f"faults.{kind}": count for kind, count in row.usage.get("faults", {}).items()},
            **quality(row.query_id),
        }


def _factors(record: Record) -> Row:
    """What was varied, and what holds for all rows of a cell."""
    counted = record.operations
    per_query = {} if counted is None else {"flops": counted.flops, "bytes": counted.bytes}
    return {
        "experiment": record.experiment,
        "cell": record.cell,
        "system": record.system.label,
        "reranker": record.system.reranker,
        "is_imported": record.is_imported,
        "dataset": record.dataset,
        "pool": record.pool,
        "depth": record.depth,
        **{f"first_stage.{name}": value for name, value in record.first_stage.items()},
        **{f"protocol.{name}": value for name, value in record.protocol.model_dump().items()},
        **{f"option.{name}": value for name, value in record.system.options.items()},
        **{
            f"{what}_per_query.{stage}": count / counted.queries
            for what, counts in per_query.items()
            for stage, count in counts.items()
            if counted is not None
        },
    }


def _write_parquet(results: Results, cells: list[CellResult], path: Path) -> Path:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("the Parquet format", "export") from error
    columns: dict[str, list[Any]] = {}
    for count, row in enumerate(row for cell in cells for row in rows(results, cell)):
        for name in row:
            if name not in columns:
                columns[name] = [None] * count
        for name, values in columns.items():
            values.append(row.get(name))
    table = pyarrow.table({name: _one_type(values) for name, values in columns.items()})
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    replace_file(path, sink.getvalue().to_pybytes())
    return path


def _one_type(values: list[Any]) -> list[Any]:
    """A column's values in one type: numbers and texts as they are, what differs and structures as JSON."""
    types = {type(value) for value in values if value is not None}
    if types == {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(types) <= 1 and types <= {int, float, str, bool}:
        return values
    return [
        value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True)
        for value in values
    ]


def _plain(values: dict[str, Any], *left_out: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in left_out}


def _without_nothing(value: Any) -> Any:
    """Without what is None, empty or unknown, however deep."""
    if isinstance(value, dict):
        inner = {name: _without_nothing(each) for name, each in value.items()}
        return {name: each for name, each in inner.items() if each not in (None, "", {}, [])}
    if isinstance(value, list | tuple):
        return [_without_nothing(each) for each in value]
    return value
