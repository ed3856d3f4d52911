"""What the inputs of an experiment hold defines its cells; how their paths are written does not."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
import yaml
from safetensors.numpy import load_file, save_file

from benchmarks.datasets.sources import open_dataset
from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.results.store import read_results
from reports.analysis.context import build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write_collection(folder: Path, relevant: str) -> None:
    """Two passages, of which the first stage prefers d1, and one query."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d1", "text": "a a"}\n{"_id": "d2", "text": "a b"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "a"}\n')
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\nq\t{relevant}\t1\n")


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return an experiment on `my-collection` beside it, behind a run,
    with the datasets and rerankers given.
    """
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "my-collection", "d2")
    (tmp_path / "first").write_text("q Q0 d1 1 2 t\nq Q0 d2 2 1 t\n")

    def write(dataset: object = "./my-collection", reranker: object = "reverse") -> Path:
        content = {
            "name": "test",
            "datasets": dataset,
            "first_stages": {"kind": "run", "path": "first"},
            "depths": 2,
            "rerankers": [reranker],
            "protocol": {"warmup": 0},
        }
        (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content))
        return tmp_path / "experiment.yaml"

    return write


def name_of(path: Path) -> str:
    (cell,) = plan(load_experiment(path)[0])
    return cell.name


@pytest.mark.parametrize("dataset", ["./my-collection", "my-collection", {"folder": "my-collection"}])
def test_corrected_judgements_give_another_table_and_the_run_says_why(
    make: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: object
) -> None:
    def ndcg() -> float:
        assert run(*load_experiment(make(dataset)), tmp_path / "out").exit_status == 0
        (group,) = build([read_results(tmp_path / "out")]).groups
        (system,) = group.systems
        return system.quality.estimates["nDCG@10"].value

    assert ndcg() == 1.0  # the reverse of d1, d2 has the relevant d2 on top
    assert "has changed" not in capsys.readouterr().err
    write_collection(tmp_path / "my-collection", "d1")
    assert ndcg() == pytest.approx(0.6309, abs=1e-4)  # 1 / log2(3): it is second now
    assert "my-collection: its content has changed since the last run" in capsys.readouterr().err
    ndcg()
    assert "has changed" not in capsys.readouterr().err


def test_a_cell_s_name_depends_neither_on_the_working_folder_nor_on_how_paths_are_written(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Path
) -> None:
    shutil.copytree(golden / "pe_rank" / "mistral" / "encoder", tmp_path / "my-model")
    names = set()
    for folder in (tmp_path, tmp_path / "my-collection", tmp_path / "my-model"):
        for place in ("my-collection", "./my-collection", str(tmp_path / "my-collection")):
            for model in ("my-model", "./my-model", str(tmp_path / "my-model")):
                monkeypatch.chdir(folder)
                path = make(place, {"name": "embedding", "options": {"model": model, "device": "cpu"}})
                names.add(name_of(path))
    assert len(names) == 1


@pytest.mark.parametrize("model", ["my-model", "./my-model"])
def test_other_weights_under_the_same_name_are_another_cell(
    make: Callable[..., Path], tmp_path: Path, golden: Path, model: str
) -> None:
    shutil.copytree(golden / "pe_rank" / "mistral" / "encoder", tmp_path / "my-model")
    path = make(reranker={"name": "embedding", "options": {"model": model, "device": "cpu"}})
    before = name_of(path)
    weights = load_file(tmp_path / "my-model" / "model.safetensors")
    save_file(
        {name: 1.5 * values for name, values in weights.items()},
        tmp_path / "my-model" / "model.safetensors",
        metadata={"format": "pt"},
    )
    assert name_of(path) != before


def test_a_folder_that_is_called_like_an_option_s_value_changes_no_cell(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    path = make(reranker={"name": "random", "options": {"seed": 1}})
    before = name_of(path)
    for name in ("reverse", "random", "run", "test", "1"):
        (tmp_path / name).mkdir(exist_ok=True)
    assert name_of(path) == before


CHAT = {"model": "m", "base_url": "http://localhost:1/v1"}


@pytest.mark.parametrize(
    ("name", "options", "changed", "is_same"),
    [
        ("rankgpt", CHAT, {"recording": "a.jsonl", "retries": 0, "timeout_seconds": 1.0}, True),
        ("rankgpt", CHAT, {"concurrency": 2}, False),  # which changes latencies
        ("rerank-api", {"api": "tei", "base_url": "http://localhost:1"}, {"retries": 0}, True),
        ("embedding", {"model": "m"}, {"store": "vectors"}, True),
        ("own_kept:Kept", {}, {"folder": "a"}, True),
        ("own_kept:Kept", {}, {"retries": 2}, False),  # an option of one's own, without the mark
    ],
)
@pytest.mark.parametrize("is_inside", [False, True])
def test_only_options_marked_as_affecting_nothing_leave_the_cell_as_it_was(
    make: Callable[..., Path], tmp_path: Path, name: str, options: dict[str, object],
    changed: dict[str, object], is_same: bool, is_inside: bool,
) -> None:  # fmt: skip
    (tmp_path / "own_kept.py").write_text(
        "from typing import Annotated\n"
        "from rerankers import Affects, MethodOptions, Reranker\n"
        "class KeptOptions(MethodOptions):\n"
        "    folder: Annotated[str, Affects('nothing')] = ''\n"
        "    retries: int = 1\n"
        "class Kept(Reranker):\n"
        "    options_model = KeptOptions\n"
        "    def __init__(self, options): pass\n"
        "    def rerank(self, requests, clock): return []\n"
    )

    def named(options: dict[str, object]) -> str:
        reranker: dict[str, object] = {"name": name, "options": options}
        parts = {"parts": [reranker, {"name": "first-stage"}]}
        return name_of(make(reranker={"name": "fusion", "options": parts} if is_inside else reranker))

    assert (named(options) == named({**options, **changed})) is is_same


def test_an_option_of_a_first_stage_that_affects_nothing_leaves_the_cell_as_it_was(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "own_cached.py").write_text(
        "from typing import Annotated\n"
        "from benchmarks import FirstStage, Options\n"
        "from rerankers import Affects\n"
        "class CachedOptions(Options):\n"
        "    folder: Annotated[str, Affects('nothing')] = ''\n"
        "    length: int = 1\n"
        "class Cached(FirstStage):\n"
        "    options_model = CachedOptions\n"
        "    def search(self, query, depth): return []\n"
    )

    def named(**options: object) -> str:
        path = make()
        content = yaml.safe_load(path.read_text())
        content["first_stages"] = {"name": "own_cached:Cached", "options": options}
        path.write_text(yaml.safe_dump(content))
        return name_of(path)

    assert named(length=1) == named(length=1, folder="a") != named(length=2)


def test_collections_that_join_to_the_same_text_have_different_fingerprints(tmp_path: Path) -> None:
    def fingerprint(folder: str, *passages: tuple[str, str]) -> str:
        write_collection(tmp_path / folder, "d1")
        lines = (json.dumps({"_id": doc_id, "text": text}) + "\n" for doc_id, text in passages)
        (tmp_path / folder / "corpus.jsonl").write_text("".join(lines))
        return open_dataset(str(tmp_path / folder)).fingerprint

    first = fingerprint("one", ("d1", "a\0d2\0b"))
    assert first != fingerprint("two", ("d1", "a"), ("d2", "b"))
    assert first == fingerprint("three", ("d1", "a\0d2\0b"))


def test_an_embedding_store_that_fills_up_leaves_the_cell_as_it_was(
    make: Callable[..., Path], tiny_encoder: str, tmp_path: Path
) -> None:
    options = {"model": tiny_encoder, "embeddings": "precomputed", "store": "./vectors"}
    path = make(reranker={"name": "embedding", "options": options})
    (tmp_path / "vectors").mkdir()
    for _ in range(2):
        run(*load_experiment(path), tmp_path / "out")
    assert [file for file in (tmp_path / "vectors").rglob("*") if file.is_file()]
    [cell] = read_results(tmp_path / "out").cells
    assert len(cell.record.sessions) == 1
