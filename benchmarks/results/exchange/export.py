"""Writes results in formats that other programs read: TREC, JSONL and BEIR, and one tidy Parquet table.

A run has no comment lines, because ir_measures, ranx, pytrec_eval, PyTerrier and trec_eval read none; its
metadata stand in a file beside it (`benchmarks.results.exchange.ir_metadata`). The table has a row for each
cell, query and repeat, and columns for factors and for measurements.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.evaluation.measures import Evaluator
from benchmarks.measuring.utilisation import cell_utilisation
from benchmarks.results.exchange.interchange import qrels_file, write_beir, write_ranked
from benchmarks.results.exchange.ir_metadata import write_metadata
from benchmarks.results.record import requests_per_second
from benchmarks.results.store import read_results
from rerankers.errors import InputError, MissingExtraError, StoreError
from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.results.record import Record
    from benchmarks.results.store import CellResult, Results

Format = Literal["trec", "rank-llm", "rankgpt", "beir", "parquet"]
Row = dict[str, Any]


def export(folder: Path, format: Format, out: Path) -> list[Path]:  # noqa: A002 - the command's option
    """Write the finished cells of a result folder to another folder in one format.

    Args:
        folder: a result folder.
        format: `trec` writes `<cell>.trec` and `<cell>.metadata.yaml` for each cell, and
            `<dataset>-<digest>.qrels` for each set of judgements; `rank-llm` and `rankgpt` write
            `<cell>.jsonl` with the texts, as those programs read them, `beir` a folder for each candidate
            set, and `parquet` `queries.parquet`.
        out: created if it is missing; files of the same names are replaced.

    Returns:
        the paths of the files or folders written.

    Raises:
        InputError: there are no results, none is finished, or a judged id does not fit into a TREC file.
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
    return _write_trec(results, finished, folder, out)


def _write_trec(results: Results, cells: list[CellResult], folder: Path, out: Path) -> list[Path]:
    """Write each cell's run and metadata, and each distinct set of judgements once; return the paths."""
    judgements = {
        digest: qrels_file(results.pool(digest))
        for digest in dict.fromkeys(cell.record.pool for cell in cells)
    }
    files: list[Path] = []
    for name, content in dict(file for file in judgements.values() if file is not None).items():
        files.append(out / name)
        replace_file(files[-1], content)
    for cell in cells:
        record = cell.record
        run = out / f"{record.cell}.trec"
        replace_file(run, (folder / record.cell / "ranking.trec").read_bytes())
        judged = judgements[record.pool]
        files += [run, write_metadata(run, record, None if judged is None else judged[0])]
    return files


def rows(results: Results, cell: CellResult) -> Iterator[Row]:
    """Yield a table row with factors, times, counts and measures per query and repeat of a cell.

    An imported run has one row per query, without times.
    """
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
    """Return the columns that all rows of a cell share: its system, options, data and protocol."""
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
            f"{count_name}_per_query.{stage}": count / counted.queries
            for count_name, counts in per_query.items()
            for stage, count in counts.items()
            if counted is not None
        },
    }


def _write_parquet(results: Results, cells: list[CellResult], path: Path) -> Path:
    """Write the rows of all cells into one Parquet table, absent values as nulls; return its path."""
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
    """Return a column's values in one type: mixed types and structures become JSON texts."""
    types = {type(value) for value in values if value is not None}
    if types == {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(types) <= 1 and types <= {int, float, str, bool}:
        return values
    return [
        value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True)
        for value in values
    ]
