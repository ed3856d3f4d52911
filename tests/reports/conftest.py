"""Result folders as the harness writes them, small enough to check by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.candidates.frozen import Pool
from benchmarks.candidates.pool_folder import save_pool
from benchmarks.results.cell import CellWriter
from benchmarks.results.cell_record import read_record, write_record
from benchmarks.results.judgements import JudgeAbout, JudgedSet, judges, write_about, write_grades
from benchmarks.results.record import Operations, Protocol, Record, Session, SuiteMember, System
from benchmarks.results.store import write_experiment
from rerankers import Candidate, Ranking
from rerankers.interface import Cost, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rerankers import RerankRequest
    from rerankers.stages import Stage

    Order = Callable[[RerankRequest], Sequence[int]]

MACHINE = {
    "python": "3.11.9",
    "cpu": {"model": "Example CPU", "cores": 2},
    "git": {"revision": "0123abcd", "is_dirty": False},
    "state": {"load_average": [0.5]},
}


class Folder:
    """Writes cells into one result folder, through the harness's own classes."""

    def __init__(self, path: Path, name: str = "example") -> None:
        self.path = path
        self.name = name
        self.cells: list[str] = []

    def pool(
        self,
        texts: Mapping[str, Sequence[str]],
        qrels: Mapping[str, Mapping[str, int]],
        dataset: str = "tiny",
        queries: Mapping[str, str] | None = None,
        first_stage: Mapping[str, Any] | None = None,
        is_timed: bool = True,
    ) -> Pool:
        """Return a saved pool: passages d0, d1, ... per query, in first-stage order."""
        pool = Pool.freeze(
            dataset=dataset,
            first_stage=first_stage or {"kind": "bm25", "k1": 0.9, "b": 0.4},
            depth=max(len(passages) for passages in texts.values()),
            queries=queries or {query_id: f"what is {query_id}" for query_id in texts},
            qrels=qrels,
            candidates={
                query_id: [
                    Candidate(query_id, f"d{i}", text, float(len(passages) - i))
                    for i, text in enumerate(passages)
                ]
                for query_id, passages in texts.items()
            },
            retrieve_seconds=dict.fromkeys(texts, 0.010) if is_timed else {},
            fetch_seconds=dict.fromkeys(texts, 0.002),
        )
        save_pool(pool, self.path / "pools")
        return pool

    def cell(
        self,
        pool: Pool,
        label: str,
        order: Order,
        *,
        reranker: str = "embedding",
        seconds: Callable[[int], float] = lambda position: 0.1,
        stages: Mapping[Stage, float] | None = None,
        usage: Callable[[], Usage] = Usage,
        status: str = "done",
        error: str | None = None,
        mode: str = "latency",
        environment: Mapping[str, Any] | None = None,
        described: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        only: int | None = None,
        repeats: int = 1,
        seed: int = 0,
        session: Mapping[str, Any] | None = None,
        operations: Operations | None = None,
        control: Callable[[int], float] | None = None,
        suite: SuiteMember | None = None,
    ) -> None:
        """One system on a pool; `seconds` is the total by query position, `stages` a part of each total.

        `session` are more fields of its session, `control` the identity control's seconds by query position.
        """
        name = f"cell-{len(self.cells):02d}"
        fields = {
            "cell": name,
            "experiment": self.name,
            "status": status,
            "error": error,
            "system": System(
                label=label, reranker=reranker, options=dict(options or {}), described=dict(described or {})
            ),
            "suite": suite,
            "protocol": Protocol.model_validate({"mode": mode, "repeats": repeats, "seed": seed}),
            "operations": operations,
        }
        record = recorded(pool, fields, {"environment": dict(environment or MACHINE), **(session or {})})
        with CellWriter(self.path / name, record) as writer:
            for repeat in range(repeats):
                for position, request in enumerate(pool.requests()[:only]):
                    cost = Cost(dict(stages or {}), usage())
                    writer.add(
                        [Ranking.of(request, order(request), cost)],
                        repeat,
                        seconds(position),
                        control_seconds=control(position) if control else None,
                    )
            writer.update(status=status, error=error)
        self.cells.append(name)
        write_experiment(self.path, self.name, self.cells, {"name": self.name, "datasets": [pool.dataset]})

    def imported(self, pool: Pool, label: str, order: Order, reranker: str = "imported") -> None:
        """Another's run on a pool: rankings, and nothing measured."""
        self.cell(pool, label, order, reranker=reranker)
        path = self.path / self.cells[-1]
        (path / "queries.jsonl").unlink()
        self.change_record(path, is_imported=True)

    def judge(self, pool: Pool, grades: Mapping[str, Mapping[str, int]], model: str = "judge") -> None:
        """Add a model's grades for a pool."""
        both = sum(doc_id in pool.qrels.get(q, {}) for q, listed in grades.items() for doc_id in listed)
        judged = JudgedSet(
            digest=write_grades(self.path, model, pool.digest, grades),
            depth=10,
            scale=(0, 1, 2, 3),
            filled=sum(map(len, grades.values())) - both,
            repeated=both,
        )
        about = judges(self.path).get(model) or JudgeAbout(model=model, prompt="umbrela")
        write_about(self.path, model, about.model_copy(update={"sets": {**about.sets, pool.digest: judged}}))

    @staticmethod
    def change_record(cell: Path, **changes: object) -> None:
        """Change a cell's record and seal its files as they are now."""
        record = read_record(cell)
        assert record is not None
        write_record(cell, record.model_copy(update={"seal": None, **changes}))

    @staticmethod
    def kept(request: RerankRequest) -> list[int]:
        """Return the first stage's order."""
        return list(range(len(request.candidates)))

    @staticmethod
    def turned(request: RerankRequest) -> list[int]:
        """Return the first stage's order, reversed."""
        return list(range(len(request.candidates)))[::-1]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return an empty result folder to write into."""
    return Folder(tmp_path / "results")


HOSTILE = {
    "script": "<script>alert(1)</script>",
    "break-out": "</script><img src=x onerror=alert(1)>",
    "template": "{{7*7}} {% raw %}",
    "latex": r"\end{tabular} &%_#$ ~^",
    "right-to-left": "שלום עולם \u202e txet",
    "emoji": "😀 👩‍🔬",
    "formula": "=HYPERLINK(1)",
}


@pytest.fixture
def hostile(folder: Folder) -> Folder:
    """Names and texts that would break out of a page, a table or a spreadsheet if anything let them."""
    texts = {f"q{i}": [*HOSTILE.values(), "word " * 10_000] for i in range(3)}
    queries = {
        query_id: f"{text} {query_id}" for query_id, text in zip(texts, HOSTILE.values(), strict=False)
    }
    pool = folder.pool(texts, {query_id: {"d7": 2, "d3": -1} for query_id in texts}, "data</title>", queries)
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    for label in ("</td>", *HOSTILE.values()):
        described = {"notice": f"notice {label}", "model": label}
        folder.cell(pool, label, folder.turned, described=described, stages={"forward": 0.05})
    folder.cell(pool, "failed", folder.kept, status="failed", error=HOSTILE["break-out"], only=0)
    return folder


@pytest.fixture(scope="session")
def hostile_texts() -> dict[str, str]:
    """Return the texts of `hostile`, by what they try."""
    return HOSTILE


@pytest.fixture
def swept(folder: Folder) -> Folder:
    """Windows and encoders varied, on two datasets and at two depths, with costs and a failure."""
    return swept_into(folder)


def swept_into(folder: Folder) -> Folder:
    """Return the results of `swept`, in any folder."""
    for dataset, depth in (("dl19", 20), ("dl19", 100), ("dl20", 100)):
        texts = {f"q{i}": [f"passage {n} of query {i}" for n in range(depth)] for i in range(8)}
        pool = folder.pool(texts, {query_id: {"d9": 2, "d3": 1, "d0": 0} for query_id in texts}, dataset)
        folder.cell(pool, "First stage", folder.kept, reranker="first-stage", seconds=lambda _: 1e-5)
        for window in (5, 10, 20):
            folder.cell(
                pool,
                f"RankGPT gpt-4o-mini, window {window}",
                _found_by(window),
                reranker="rankgpt",
                options={"model": "gpt-4o-mini", "window": window},
                seconds=lambda i, window=window: window * (0.1 + i / 100),  # type: ignore[misc]
                stages={"generate": 0.4},
                usage=lambda: Usage(llm_calls=9, prompt_tokens=19_506, dollars=0.0042, faults={"missing": 1}),
            )
        for encoder, order in (("MiniLM", _found_by(3)), ("BGE", _found_by(8))):
            folder.cell(
                pool,
                f"Similarity, {encoder}",
                order,
                options={"encoder": encoder},
                seconds=lambda i: 0.02 + i / 1000,
                stages={"embed": 0.015},
            )
        model = "BAAI/bge-reranker-large"
        folder.cell(
            pool,
            "bge-reranker-large",
            _found_by(10),
            reranker="cross-encoder",
            options={"model": model},
            stages={"forward": 0.09},
        )
    folder.cell(pool, "Out of memory", folder.kept, status="failed", error="no memory left", only=0)
    return folder


def _found_by(reach: int) -> Order:
    """Find the relevant passages d9 and d3 in the first `reach`, for each query a little differently."""

    def order(request: RerankRequest) -> list[int]:
        luck = int(request.candidates[0].query_id[1:]) % 4
        first = [n for n in (9, 3) if n < reach + luck]
        return first + [n for n in range(len(request.candidates)) if n not in first]

    return order


def recorded(pool: Pool, fields: Mapping[str, Any], session: Mapping[str, Any]) -> Record:
    """Return the record of a cell with one session that took 1.5 s to load."""
    started = {"started_at": "2025-03-01T10:00:00Z", "load_seconds": 1.5}
    ranked = {
        "dataset": pool.dataset,
        "first_stage": pool.first_stage,
        "depth": pool.depth,
        "pool": pool.digest,
    }
    sessions = (Session.model_validate({**started, **session}),)
    return Record.model_validate({**ranked, "measures": ("nDCG@10", "RR@10"), "sessions": sessions, **fields})
