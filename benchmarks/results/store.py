"""Reads and writes a result folder: its cells, its candidate sets, and the list of the experiment's cells.

`DIR/<cell>/` is one cell (`benchmarks.results.cell`), `DIR/pools/<digest>/` one candidate pool
(`benchmarks.candidates.pool_folder`), and `DIR/experiment.json` lists the cells of the latest run in the
order of its file. A cell that is not listed, such as one of an earlier version of the experiment, is kept but
not shown.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from benchmarks.evaluation.measures import parse
from benchmarks.measuring.progress import say
from benchmarks.results.cell_lines import blocks_of, committed_lines
from benchmarks.results.cell_record import check_seal, check_sessions, read_record
from benchmarks.results.record import FOLDER_NAME, SCHEMA_VERSION, QueryRow, Record
from benchmarks.results.seal import RANKING, RAW, ROWS
from benchmarks.results.stored import StoredRankings, StoredRows
from rerankers.errors import DamagedError, InputError, StoreError
from rerankers.files.writing import replace_file
from rerankers.text.redaction import excerpt, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.candidates.frozen import Pool

FILES = ("record.json", *RAW)
"""Files of a cell: a folder that has one of them was begun."""


@dataclass(frozen=True)
class CellResult:
    """One cell as read from its folder: record, rows in the order of measuring, and rankings best first.

    `rankings` has an entry for every query that was ranked, an empty one if it had no candidates.
    An imported cell has no rows, since it was not measured.
    """

    record: Record
    rows: Sequence[QueryRow]
    rankings: StoredRankings

    def unstable_queries(self) -> list[str]:
        """Return the ids of queries whose ranking differs between repeats."""
        first: dict[str, str] = {}
        unstable = {
            row.query_id for row in self.rows if first.setdefault(row.query_id, row.ranking) != row.ranking
        }
        return [query_id for query_id in first if query_id in unstable]


@dataclass
class Results:
    """A result folder as read: the cells of its experiment, in the order of the experiment file.

    Attributes:
        cells: the cells whose records can be read. A cell that does not match its seal has the status
            `damaged`, the reason as its error, and neither rows nor rankings.
        damaged: one message for each damaged cell, with a record or without one.
    """

    folder: Path
    cells: list[CellResult]
    damaged: tuple[str, ...] = ()
    _pools: dict[str, Pool] = field(default_factory=dict, repr=False)

    def pool(self, digest: str) -> Pool:
        """Return the candidate set with a digest, read on first use; for "", an empty one.

        A cell that got no candidates has the digest "".

        Raises:
            StoreError: it is missing or damaged.
        """
        from benchmarks.candidates.frozen import Pool
        from benchmarks.candidates.pool_folder import load_pool

        if not digest:
            return Pool.freeze(dataset="", first_stage={}, depth=0, queries={}, qrels={}, candidates={})
        if digest not in self._pools:
            self._pools[digest] = load_pool(self.folder / "pools" / digest, late_texts=True)
        return self._pools[digest]


def read_results(folder: Path | str) -> Results:
    """Read a result folder, finished or not; print a line about each damaged cell.

    Raises:
        InputError: the folder has no results.
        StoreError: all cells are damaged, or a file was written by a newer version.
    """
    folder = Path(folder)
    names = _cell_names(folder)
    if not names:
        raise InputError(f"{folder}: no results here; `rerankbench run CONFIG --out {folder}` makes some")
    cells, damaged = [], []
    for name in names:
        try:
            cells.append(_read_cell(folder / name))
        except DamagedError as error:
            damaged.append(str(error))
    damaged += [f"{folder}/{cell.record.error}" for cell in cells if cell.record.status == "damaged"]
    if not cells:
        raise StoreError(damaged[0])
    for line in damaged:
        say(f"damaged, and left out: {line}")
    results = Results(folder, cells, tuple(damaged))
    for measure in {measure for cell in results.cells for measure in cell.record.measures}:
        try:
            parse(measure)
        except InputError as error:
            raise StoreError(
                f"{folder}: {error}. Change `measures` in the experiment file and run it again: finished "
                "cells are kept, nothing is measured again."
            ) from error
    return results


@contextmanager
def trusted(folders: Sequence[Path]) -> Iterator[None]:
    """Convert errors of damaged values, raised in the `with` block while results are read, to a StoreError.

    Records hold values that no schema describes, such as the environment and a reranker's description of
    itself.

    Raises:
        StoreError: such a value is not what this program wrote.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        where = ", ".join(map(str, folders))
        reason = excerpt(error, 200) or type(error).__name__
        raise StoreError(
            f"{where}: a record holds a value that cannot be read ({reason}). --debug shows which; run the "
            "experiment into another folder with --out"
        ) from error


def at_ranking_line(cell: Path, query_id: str, doc_id: str, occurrence: int, reason: str) -> StoreError:
    """Return an error that names the line of `ranking.trec` with a passage's n-th occurrence for a query."""
    path = cell / RANKING
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.split()[:3:2] == [query_id.encode(), doc_id.encode()]:
            occurrence -= 1
            if not occurrence:
                return StoreError(f"{path}:{number}: {reason}; run the experiment again in a new folder")
    return StoreError(f"{path}: {reason}; run the experiment again in a new folder")


def write_experiment(
    folder: Path,
    name: str,
    cells: Sequence[str],
    config: Mapping[str, Any],
    inputs: Mapping[str, str] | None = None,
) -> None:
    """Write `experiment.json`: the experiment's name, cells in order, file values and digests of its inputs.

    Imported cells of the folder stay in the list, at its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    imported = [cell for cell in _cell_names(folder) if _is_imported(folder / cell)]
    names = [*cells, *(cell for cell in imported if cell not in cells)]
    about = {"schema_version": SCHEMA_VERSION, "experiment": name, "cells": names, "config": config}
    about |= {"inputs": inputs} if inputs else {}
    content = json.dumps(about, indent=2, ensure_ascii=False, default=str)
    replace_file(folder / "experiment.json", without_secrets(content))


def _is_imported(cell: Path) -> bool:
    """Return whether a cell is an imported run; one with a damaged record is if it has no rows."""
    try:
        record = read_record(cell)
    except DamagedError:
        return not (cell / ROWS).exists()
    return record is not None and record.is_imported


def list_cells(folder: Path, cells: Sequence[str]) -> None:
    """Append cells to the list in a folder's `experiment.json`."""
    about = read_about(folder)
    if about is None:
        return write_experiment(folder, "imported", cells, {})
    names = [*(cell for cell in _cell_names(folder) if cell not in cells), *cells]
    changed = about.model_copy(update={"cells": names})
    return replace_file(folder / "experiment.json", without_secrets(changed.model_dump_json(indent=2)))


class About(BaseModel):
    """The content of `experiment.json`: name, cells in order, file values and inputs of the experiment.

    `inputs` holds 16 hex digits for each local file or folder of the experiment, by its path.
    """

    schema_version: int
    experiment: str
    cells: list[Annotated[str, Field(pattern=FOLDER_NAME)]]
    config: dict[str, Any]
    inputs: dict[str, str] = {}


def changed_inputs(folder: Path, inputs: Mapping[str, str]) -> list[str]:
    """Return the paths whose digest in `inputs` differs from that of the folder's latest run."""
    about = read_about(folder)
    before = about.inputs if about else {}
    return [path for path, digest in inputs.items() if before.get(path, digest) != digest]


def read_about(folder: Path) -> About | None:
    """Read a result folder's `experiment.json`; None if it has none.

    Raises:
        StoreError: it is damaged.
    """
    path = folder / "experiment.json"
    try:
        return About.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        remedy = "delete it, and run the experiment again to write it anew"
        raise StoreError(f"{path}: damaged ({reason}); {remedy}") from error


def _cell_names(folder: Path) -> list[str]:
    """Return the names of the experiment's cells that were begun; without an experiment, of all cells."""
    about = read_about(folder)
    if about is None:
        return sorted({path.parent.name for name in FILES for path in folder.glob(f"*/{name}")})
    return [name for name in about.cells if any((folder / name / file).exists() for file in FILES)]


def _read_cell(cell: Path) -> CellResult:
    """Read and verify a cell.

    One whose files are damaged gets the status `damaged` and no rows or rankings.
    """
    record = read_record(cell)
    if record is None:
        raise DamagedError(f"{cell}: holds no record; run the same experiment again")
    try:
        check_seal(cell, record)
        blocks, rows = (blocks_of(cell), []) if record.is_imported else committed_lines(cell)
        check_sessions(cell, record, [row for _, row in rows])
    except DamagedError as error:
        reason = str(error).removeprefix(f"{cell.parent}/")
        return CellResult(
            record.model_copy(update={"status": "damaged", "error": reason}), [], StoredRankings({})
        )
    lines = StoredRows(line for line, _ in rows)
    return CellResult(record, lines, StoredRankings(blocks, cell / RANKING))
