"""Ready suites: what their pages promise, and runs on tiny copies in the datasets' own files."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import ir_datasets
import ir_measures
import pytest
import yaml

from benchmarks.cli.main import main
from benchmarks.evaluation.measures import Evaluator
from benchmarks.experiments.config import Experiment, load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.experiments.suites import SuiteSpec, find_suite, spread, suite_names
from benchmarks.first_stages.specs import Bm25
from benchmarks.results.store import read_results
from rerankers.errors import InputError
from tests.benchmarks.experiments.prepared_cache import prepare_bright, prepare_dl21, prepare_nanobeir

if TYPE_CHECKING:
    from benchmarks.experiments.dataset_entries import DatasetEntry

HEAD = {"name": "study", "rerankers": ["first-stage", "reverse"], "protocol": {"warmup": 0}}


def members(name: str) -> list[DatasetEntry]:
    return SuiteSpec(suite=name).members()


def prebuilt_indexes() -> set[str]:
    """Names of pyserini's indexes, without the seconds that importing it takes."""
    spec = importlib.util.find_spec("pyserini")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("pyserini is not installed")
    source = Path(spec.submodule_search_locations[0]) / "prebuilt_index_info.py"
    return set(re.findall(r'^\s+"([\w.-]+)":', source.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("name", suite_names())
def test_every_dataset_and_index_of_a_page_exists_and_is_judged(name: str) -> None:
    page, _ = find_suite(name)
    assert page.citation
    for member in members(name):
        assert member.first_stages
        assert member.suite is not None
        assert (member.suite.name, member.suite.datasets) == (name, len(page.datasets))
        if member.id is not None:
            source = ir_datasets.load(member.id)
            assert all(source.has(kind) for kind in ("docs", "queries", "qrels")), member.id
            assert member.first_stages[0].kind != "scoreddocs" or source.has("scoreddocs")
        for stage in member.first_stages:
            assert not isinstance(stage, Bm25) or stage.index is None or stage.index in prebuilt_indexes()


def test_pages_hold_what_is_published() -> None:
    assert {name: len(members(name)) for name in ("bright", "bright-long", "nanobeir", "miracl")} == {
        "bright": 12,
        "bright-long": 8,
        "nanobeir": 13,
        "miracl": 18,
    }
    for track in ("dl19", "dl20", "dl21", "dl22", "dl23"):
        assert members(track)[0].measures == [
            "nDCG@10",
            "RR(rel=2)",
            "AP(rel=2)",
            "R(rel=2)@100",
            "Judged@10",
        ]
    beir = members("beir")
    assert sum(member.part_of == "cqadupstack" for member in beir) == 12
    assert len({member.part_of or member.name for member in beir}) == 14
    rules = {member.name: member.exclude for member in [*beir, *members("nanobeir")] if member.exclude}
    both = ("beir-arguana", "beir-quora", "nanobeir-arguana", "nanobeir-quora")
    assert rules == dict.fromkeys(both, "identical-id")
    assert {member.exclude for member in [*members("bright"), *members("bright-long")]} == {"negative-grades"}
    assert "earth science post, retrieve relevant passages" in str(
        members("bright-earth-science")[0].instruction
    )
    assert "documents" in str(members("bright-long-pony")[0].instruction)


def test_one_dataset_of_a_suite_can_be_named() -> None:
    [swahili] = members("miracl-sw")
    assert (swahili.name, swahili.id) == ("miracl-sw", "miracl/sw/dev")
    assert [stage.model_dump(exclude_none=True) for stage in swahili.first_stages] == [
        {"kind": "bm25", "k1": 0.9, "b": 0.4, "index": "miracl-v1.0-sw", "language": "sw"}
    ]
    assert [member.name for member in SuiteSpec(suite="bright", only=["pony"]).members()] == ["bright-pony"]


def test_a_suite_of_one_dataset_takes_judgements_side_by_side() -> None:
    judgements = {"nist": "own", "umbrela": "umbrela.txt"}
    [member] = SuiteSpec(suite="dl19", judgements=judgements).members()
    assert (member.judgements, member.name) == (judgements, "dl19")


@pytest.mark.parametrize(
    ("datasets", "says"),
    [
        ({"suite": "nanobier"}, r"unknown suite 'nanobier'; did you mean nanobeir"),
        (
            {"suite": "bright", "only": "biologie"},
            "unknown dataset of bright 'biologie'; did you mean biology",
        ),
        ({"suite": "bright", "onyl": "biology"}, "onyl.*only"),
        ({"suite": "bright", "judgements": {"a": "own"}}, "judgements goes with one dataset"),
        (["dl19", "bundled"], "'first_stages' is missing, and bundled has none"),
    ],
)
def test_a_wrong_suite_is_refused_with_what_is_there(tmp_path: Path, datasets: object, says: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**HEAD, "datasets": datasets}))
    with pytest.raises(InputError, match=says):
        load_experiment(path)


def test_a_name_that_is_a_suite_and_a_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nanobeir").mkdir()
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**HEAD, "datasets": "nanobeir"}))
    with pytest.raises(InputError, match=r"study.yaml:\d+: .*a suite and a folder .* \{folder: nanobeir\}"):
        load_experiment(path)
    path.write_text(yaml.safe_dump({**HEAD, "datasets": {"suite": "nanobeir"}}))
    assert len(load_experiment(path)[0].entries) == 13


def test_a_limit_is_shared_out_over_a_suite_s_datasets() -> None:
    assert spread(30, 12) == [3] * 6 + [2] * 6
    assert spread(3, 12) == [1] * 12  # none is left out: the average would be another one
    assert spread(None, 2) == [None, None]
    content = {**HEAD, "datasets": ["nanobeir", "dl19"], "limit": 26}
    limits = {cell.pool.dataset_name: cell.pool.limit for cell in plan(Experiment.model_validate(content))}
    assert limits.pop("dl19") == 26
    assert set(limits.values()) == {2}
    assert len(limits) == 13


def test_what_the_experiment_says_takes_the_place_of_the_suite_s() -> None:
    stated = {"first_stages": {"kind": "dense", "encoder": "m"}, "measures": "P@5"}
    [cell, *_] = plan(Experiment.model_validate({**HEAD, "datasets": "dl20", **stated}))
    assert (cell.pool.first_stage.kind, cell.pool.measures) == ("dense", ("P@5",))
    [cell, *_] = plan(Experiment.model_validate({**HEAD, "datasets": "dl20"}))
    assert (cell.pool.first_stage.kind, cell.pool.measures[1]) == ("bm25", "RR(rel=2)")


def test_a_suite_of_one_s_own_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = {
        "summary": "two folders",
        "datasets": [{"folder": "./a", "name": "a"}, {"folder": "./b", "name": "b", "measures": "P@1"}],
        "first_stages": "bm25",
        "measures": "nDCG@10",
        "citation": "none",
    }
    (tmp_path / "ours.yaml").write_text(yaml.safe_dump(page))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**HEAD, "datasets": {"suite": "./ours.yaml"}}))
    entries = load_experiment(tmp_path / "study.yaml")[0].entries
    assert [(entry.name, entry.measures) for entry, _ in entries] == [
        ("ours-a", ["nDCG@10"]),
        ("ours-b", ["P@1"]),
    ]
    assert Path(str(entries[0][0].folder)).resolve() == (tmp_path / "a").resolve()
    assert main(["list", "suites", str(tmp_path / "ours.yaml")]) == 0
    assert "two folders" in capsys.readouterr().out
    del page["first_stages"]
    (tmp_path / "broken.yaml").write_text(yaml.safe_dump(page))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**HEAD, "datasets": {"suite": "./broken.yaml"}}))
    with pytest.raises(InputError, match="a suite names first_stages, or each of its datasets does"):
        load_experiment(tmp_path / "study.yaml")


def test_suites_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "suites"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name} " in listed for name in suite_names())
    assert main(["list", "suites", "dl21"]) == 0
    output = capsys.readouterr().out
    assert "msmarco-passage-v2/trec-dl-2021/judged; scoreddocs; nDCG@10, RR(rel=2)" in output


@pytest.mark.lucene
def test_suites_run_on_the_datasets_own_files_and_give_ir_measures_values(tmp_path: Path) -> None:
    home = tmp_path / "ir_datasets"
    foxes = {
        "p1": "a fox hunts at dusk",
        "p2": "owls hunt mice",
        "p3": "granite is a rock",
        "p4": "foxes hunt",
    }
    prepare_nanobeir(home, "nfcorpus", foxes, {"q1": "fox hunts", "q2": "owls"}, {"q1": ["p4"], "q2": ["p2"]})
    prepare_nanobeir(home, "arguana", foxes, {"p1": "a fox hunts at dusk"}, {"p1": ["p4"]})
    prepare_bright(
        home, "biology", foxes, {"0": "who hunts"}, {"0": ["p2"]}, {"0": ["p1", "p4"]}, {"0": "owls"}
    )
    texts = ["rain falls", "snow falls", "hail falls"]
    ids = prepare_dl21(
        home, texts, {"7": "what falls", "8": "no"}, {"7": {0: 1, 1: 3, 2: 2}}, {"7": [2, 0, 1]}
    )
    datasets = [{"suite": "nanobeir", "only": ["nfcorpus", "arguana"]}, "bright-biology", "dl21"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**HEAD, "datasets": datasets}))
    environment = {
        **os.environ,
        "IR_DATASETS_HOME": str(home),
        "RERANKBENCH_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    command = [sys.executable, "-m", "benchmarks.cli", "run", "study.yaml", "--out", "runs"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = read_results(tmp_path / "runs")
    cells = {(cell.record.dataset, cell.record.system.label): cell for cell in results.cells}
    first = {dataset: cell for (dataset, label), cell in cells.items() if label == "first-stage"}
    assert set(first) == {"nanobeir-nfcorpus", "nanobeir-arguana", "bright-biology", "dl21"}
    orders = {name: dict(cell.rankings.orders()) for name, cell in first.items()}
    assert orders["dl21"] == {"7": [ids[2], ids[0], ids[1]]}  # the official ranking, of the judged query
    assert orders["nanobeir-arguana"]["p1"][0] == "p4"  # p1 is the query itself, and left out
    assert orders["bright-biology"] == {"0": ["p2"]}  # p1 and p4 are marked as excluded
    assert first["dl21"].record.first_stage["kind"] == "scoreddocs"
    assert first["dl21"].record.measures[:2] == ("nDCG@10", "RR(rel=2)")
    values: dict[tuple[str, str], dict[str, float]] = {}
    for key, cell in cells.items():
        pool = results.pool(cell.record.pool)
        orders_of = dict(cell.rankings.orders())
        run = [
            ir_measures.ScoredDoc(query_id, doc_id, -float(rank))
            for query_id, order in orders_of.items()
            for rank, doc_id in enumerate(order)
        ]
        measures = [ir_measures.parse_measure(name) for name in cell.record.measures]
        values[key] = {str(m): v for m, v in ir_measures.calc_aggregate(measures, pool.qrels, run).items()}
        ours = Evaluator(pool.qrels, cell.record.measures).evaluate(orders_of)
        assert {name: fmean(by_query.values()) for name, by_query in ours.items()} == pytest.approx(
            values[key]
        )
    assert values["dl21", "first-stage"]["AP(rel=2)"] == pytest.approx((1 / 1 + 2 / 3) / 2)  # grades 2, 1, 3
    assert values["nanobeir-nfcorpus", "first-stage"]["nDCG@10"] == 1.0  # p4 and p2 are found first
    assert values["bright-biology", "reverse"]["nDCG@10"] == 1.0  # nothing but p2 is left
