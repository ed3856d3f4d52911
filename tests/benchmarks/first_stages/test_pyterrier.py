"""A PyTerrier pipeline of the user's own proposes candidates, which are frozen as all others."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from benchmarks.candidates.pool_folder import load_pool
from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.results.store import read_results
from reports.analysis.first_stages import describe
from rerankers.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("pyterrier") is None,
        reason='PyTerrier is not installed: python -m pip install "rerankbench[pyterrier]"',
    ),
    pytest.mark.filterwarnings("ignore:The inplace keyword"),  # pandas, about PyTerrier's own ranks
]

PIPELINES = """
import pandas as pd
import pyterrier as pt


class Overlap(pt.Transformer):
    '''Scores passages by the words that they share with the query.'''

    def __init__(self, passages):
        super().__init__()
        self.words = {passage["docno"]: set(passage["text"].split()) for passage in passages}

    def transform(self, queries):
        rows = [
            (query.qid, query.query, docno, float(len(words & set(query.query.split()))))
            for query in queries.itertuples()
            for docno, words in self.words.items()
        ]
        return pt.model.add_ranks(pd.DataFrame(rows, columns=["qid", "query", "docno", "score"]))


def overlap(passages):
    return Overlap(passages) % 3


def stored(passages):
    rows = [("q1", "d2", 2.0), ("q1", "d1", 2.0), ("q2", "d3", 1.0), ("q1", "d3", 7.0)]
    return pt.Transformer.from_df(pd.DataFrame(rows, columns=["qid", "docno", "score"]))


def number(passages):
    return 7


def fails(passages):
    raise OSError("no index\\nhere")


def without_scores(passages):
    return pt.apply.generic(lambda queries: queries.assign(docno="d1"))


def twice(passages):
    return pt.apply.generic(lambda queries: pd.concat([queries.assign(docno="d1", score=1.0)] * 2))


def unknown(passages):
    return pt.apply.generic(lambda queries: queries.assign(docno="d9", score=1.0))


def not_a_number(passages):
    return pt.apply.generic(lambda queries: queries.assign(docno="d1", score=float("nan")))


def other_query(passages):
    return pt.apply.generic(lambda queries: queries.assign(qid="q7", docno="d1", score=1.0))
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a collection of four passages, a module of pipelines, and an experiment that names one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    texts = {"d1": "yeast makes dough rise", "d2": "salt melts ice", "d3": "dough needs yeast", "d4": "rain"}
    queries = {"q1": "why does dough rise", "q2": "what melts ice"}
    folder = tmp_path / "kitchen"
    (folder / "qrels").mkdir(parents=True)
    for name, items in (("corpus", texts), ("queries", queries)):
        lines = [json.dumps({"_id": id_, "text": text}) + "\n" for id_, text in items.items()]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n")
    (tmp_path / "pipelines.py").write_text(PIPELINES)
    monkeypatch.delitem(sys.modules, "pipelines", raising=False)

    def write_experiment(pipeline: str, **keys: Any) -> Path:
        content = {
            "name": "kitchen",
            "datasets": "./kitchen",
            "first_stages": {"kind": "pyterrier", "pipeline": pipeline, **keys},
            "depths": 3,
            "rerankers": ["first-stage", "reverse"],
        }
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write_experiment


def test_a_pipeline_over_the_passages_proposes_frozen_candidates_and_is_timed(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    experiment, config = load_experiment(write("pipelines:overlap"))
    assert run(experiment, config, tmp_path / "out").exit_status == 0
    first, reverse = read_results(tmp_path / "out").cells
    pool = load_pool(tmp_path / "out" / "pools" / first.record.pool)
    proposed = {
        query_id: [(hit.doc_id, hit.score) for hit in hits] for query_id, hits in pool.candidates.items()
    }
    assert proposed["q1"] == [("d1", 2.0), ("d3", 1.0), ("d2", 0.0)]  # dough and rise, dough, nothing
    assert proposed["q2"][0] == ("d2", 2.0)
    assert reverse.rankings.orders()["q1"] == ["d2", "d3", "d1"]
    assert pool.retrieve_seconds.keys() == {"q1", "q2"}
    assert describe(pool.first_stage) == "overlap"
    assert pool.first_stage["pipeline"] == "pipelines:overlap"
    assert "Overlap" in pool.first_stage["transformer"]


def test_a_pipeline_marked_as_untimed_answers_all_queries_at_once_and_ties_follow_ids(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    experiment, config = load_experiment(write("pipelines:stored", timed=False, name="Stored"))
    assert run(experiment, config, tmp_path / "out").exit_status == 0
    pool = load_pool(tmp_path / "out" / "pools" / read_results(tmp_path / "out").cells[0].record.pool)
    assert [hit.doc_id for hit in pool.candidates["q1"]] == ["d3", "d1", "d2"]
    assert pool.retrieve_seconds == {}
    assert describe(pool.first_stage) == "Stored"


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        ("pipelines", "not a name of the form module:name"),
        ("__import__('os'):x", "not a name of the form module:name"),
        ("nowhere:overlap", "no module 'nowhere'"),
        ("pipelines:overlaps", "pipelines has no function 'overlaps'"),
        ("pipelines:COLUMN", "pipelines has no function 'COLUMN'"),
    ],
)
def test_a_name_without_a_function_is_refused_with_its_line_before_anything_runs(
    write: Callable[..., Path], pipeline: str, reason: str
) -> None:
    with pytest.raises(InputError, match=r"experiment.yaml:\d+: ") as error:
        load_experiment(write(pipeline))
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("number", "returned int"),
        ("fails", "OSError: no index here"),
        ("without_scores", "no column 'score'"),
        ("twice", "query 'q1' has a passage twice"),
        ("unknown", "passage 'd9' is not in here"),
        ("not_a_number", "a score that is not a number"),
        ("other_query", "a query 'q7' that was not asked"),
    ],
)
def test_results_that_are_no_candidates_fail_in_one_line(
    write: Callable[..., Path], tmp_path: Path, function: str, reason: str
) -> None:
    experiment, config = load_experiment(write(f"pipelines:{function}"))
    outcome = run(experiment, config, tmp_path / "out")
    assert outcome.exit_status == 2
    errors = {str(error) for error in outcome.failures.values()}
    assert len(errors) == 1
    assert reason in errors.pop()


def test_without_pyterrier_the_extra_is_named_before_anything_runs(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("pipelines:overlap")
    monkeypatch.setitem(sys.modules, "pyterrier", None)
    with pytest.raises(MissingExtraError, match=r'pip install "rerankbench\[pyterrier\]"'):
        load_experiment(path)


def test_a_changed_module_makes_new_cells(write: Callable[..., Path], tmp_path: Path) -> None:
    experiment, _ = load_experiment(write("pipelines:overlap"))
    before = [cell.name for cell in plan(experiment)]
    assert [cell.name for cell in plan(experiment)] == before
    (tmp_path / "pipelines.py").write_text(PIPELINES + "\n# changed\n")
    assert not {cell.name for cell in plan(experiment)} & {*before}
