"""The sentence, as far as one cell goes.

    dataset -> first-stage run -> frozen candidate pool -> reranker -> ranking + stage times + usage
            -> measures -> result record -> report

`freeze_pool` is the sentence up to the pool, `run_cell` from there to the record. Measures and reports are
computed from records when they are read.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from benchmarks.candidates import Pool, build_pool, load_pool
from benchmarks.cell import CellWriter, replace_file, write_record
from benchmarks.environment import environment
from benchmarks.progress import Progress
from benchmarks.protocol import PeakMemory, collector_off, measure, seed_everything, timing, warm_up
from benchmarks.record import Record, Session, System
from rerankers.errors import RerankbenchError, StoreError
from rerankers.llm.prices import Budget
from rerankers.registry import create, load
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.config import Experiment
    from benchmarks.plan import CellPlan, PoolPlan
    from rerankers.interface import Reranker

log = logging.getLogger("rerankbench")


def freeze_pool(plan: PoolPlan, folder: Path, *, store_text: bool) -> Pool:
    """The candidates of a plan: those frozen by an earlier run into the same folder, else new ones.

    Raises:
        InputError: the dataset or the first stage is wrong.
        StoreError: the folder's pool has other candidates than the data give now.
    """
    index_path = folder / "pools" / "index.json"
    index: dict[str, str] = json.loads(index_path.read_text(encoding="utf-8")) if index_path.exists() else {}
    frozen = folder / "pools" / index.get(plan.key, "none")
    if (frozen / "texts.jsonl.gz").exists():
        return load_pool(frozen)
    pool = build_pool(plan.dataset, plan.first_stage, plan.depth, plan.limit)
    if plan.key in index and index[plan.key] != pool.digest:
        raise StoreError(
            f"{frozen}: the data now give other candidates than were frozen here (digest {pool.digest}); "
            "use a new result folder"
        )
    pool.save(folder / "pools", store_text)
    replace_file(index_path, json.dumps({**index, plan.key: pool.digest}, indent=1))
    return pool


def run_cell(experiment: Experiment, cell: CellPlan, pool: Pool, folder: Path) -> Exception | None:
    """Measure one system on one pool, or what an earlier run left to measure.

    Whatever the reranker raises is the cell's result: it is recorded, what was ranked before is kept, and a
    later run goes on from there.

    Returns:
        why the cell failed, or None.

    Raises:
        StoreError: the results cannot be written.
    """
    requests = pool.requests()
    memory = PeakMemory()
    reranker: Reranker | None = None
    record = _record(experiment, cell, pool.dataset, pool.first_stage, pool.digest)
    with CellWriter(folder / cell.name, record) as writer:
        try:
            started = StageClock().now()
            reranker = _construct(cell, pool)
            clock = StageClock(synchronise=_synchroniser(reranker))
            load_seconds = clock.now() - started
            if experiment.budget is not None:
                reranker.pay_from(Budget(experiment.budget, folder / "spending.jsonl"))
            seen = {**environment(), "timing": timing(clock)}  # once more: a loaded library tells more
            writer.update_session(load_seconds=load_seconds, environment=seen)
            writer.update(system=_described(writer, reranker))
            seed_everything(cell.protocol.seed)
            reranker.prepare(requests)
            writer.update_session(warmup_seconds=warm_up(reranker, requests, cell.protocol, clock))
            total = len(requests) * cell.protocol.repeats
            with collector_off(), Progress(cell.label, total, len(writer.done)) as progress:
                for rankings, repeat, seconds in measure(
                    reranker, requests, cell.protocol, clock, writer.done
                ):
                    progress.advance(writer.add(rankings, repeat, seconds))
            writer.update(status="done", error=None)
        except StoreError:
            raise
        except Exception as error:
            log.debug("%s failed", cell.label, exc_info=True)
            writer.update(status="failed", error=explain(error))
            return error
        finally:
            if reranker is not None:  # an endpoint tells only with its answers what it runs
                writer.update(system=_described(writer, reranker))
                writer.update_session(described=reranker.describe())
            writer.update_session(
                peak_host_bytes=memory.host_bytes(), peak_device_bytes=memory.device_bytes()
            )
            _release(reranker)
    return None


def record_failure(experiment: Experiment, cell: CellPlan, error: Exception, folder: Path) -> None:
    """Note that a cell could not begin, because it got no candidates; its record names no pool."""
    record = _record(experiment, cell, cell.pool.dataset_name, cell.pool.first_stage.model_dump(), "")
    (folder / cell.name).mkdir(exist_ok=True)
    write_record(folder / cell.name, record.model_copy(update={"status": "failed", "error": explain(error)}))


def _record(
    experiment: Experiment, cell: CellPlan, dataset: str, first_stage: dict[str, Any], pool: str
) -> Record:
    session = Session(started_at=datetime.now(UTC).isoformat(timespec="seconds"), environment=environment())
    return Record(
        cell=cell.name,
        experiment=experiment.name,
        status="running",
        system=System(label=cell.label, reranker=cell.reranker, options=cell.options),
        dataset=dataset,
        first_stage=first_stage,
        depth=cell.pool.depth,
        pool=pool,
        measures=tuple(experiment.measures),
        protocol=cell.protocol,
        sessions=(session,),
    )


def explain(error: Exception) -> str:
    """An error as one line."""
    line = " ".join(str(error).split()) or "no reason given"
    return line if isinstance(error, RerankbenchError) else f"{type(error).__name__}: {line}"


def _described(writer: CellWriter, reranker: Reranker) -> System:
    return writer.record.system.model_copy(update={"described": reranker.describe()})


def _construct(cell: CellPlan, pool: Pool) -> Reranker:
    qrels = {"qrels": pool.qrels} if load(cell.reranker).needs_qrels else {}
    return create(cell.reranker, {**cell.options, **qrels})


def _synchroniser(reranker: Reranker) -> Callable[[], None]:
    if str(reranker.device) == "cpu":
        return lambda: None  # without importing torch, which a reranker on a CPU may not need
    from rerankers.devices import synchroniser

    return synchroniser(reranker.device)


def _release(reranker: Reranker | None) -> None:
    """Give the memory back before the next system loads."""
    if reranker is not None:
        reranker.close()
    del reranker
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
