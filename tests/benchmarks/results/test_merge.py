"""Folders of several machines become one, and nothing is mixed unnoticed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from benchmarks.cli.main import main
from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.results.cell_record import readable_record, write_imported
from benchmarks.results.merge import merge
from benchmarks.results.store import read_results
from rerankers.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def go(path: Path, folder: Path, *overrides: str) -> None:
    run(*load_experiment(path, overrides), folder)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", "experiment.json")
    }


def test_cells_of_two_machines_stand_in_one_folder_and_are_not_run_again(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_experiment(rerankers=["random", "reverse"])
    go(path, tmp_path / "a", "rerankers=random")
    go(path, tmp_path / "b", "rerankers=reverse")
    assert len(merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")) == 2
    before = files(tmp_path / "all")
    assert {**files(tmp_path / "b"), **files(tmp_path / "a")} == before  # the first one's pool, and all cells
    go(path, tmp_path / "all")
    assert [cell.record.system.label for cell in read_results(tmp_path / "all").cells] == [
        "random",
        "reverse",
    ]
    assert {name for name, content in files(tmp_path / "all").items() if before[name] != content} == set()


def test_merging_again_changes_nothing(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    go(write_experiment(rerankers="reverse"), tmp_path / "a")
    merge([tmp_path / "a"], tmp_path / "all")
    before = files(tmp_path / "all")
    assert main(["merge", str(tmp_path / "a"), "--out", str(tmp_path / "all")]) == 0
    assert files(tmp_path / "all") == before


def measured(folder: Path, label: str) -> bytes:
    """Return the measured rows of a system."""
    (cell,) = (cell for cell in read_results(folder).cells if cell.record.system.label == label)
    return (folder / cell.record.cell / "queries.jsonl").read_bytes()


@pytest.fixture
def two_machines(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Folders `a` and `b`, each with the first stage, all controls and a reranker, labelled as the folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_merged.py").write_text(
        "from rerankers.baselines import Reverse\n\n\nclass Mine(Reverse):\n    pass\n"
    )
    for folder in ("a", "b"):
        systems = [
            "first-stage",
            "random",
            "reverse",
            "oracle",
            {"name": "mine_merged:Mine", "label": folder},
        ]
        go(write_experiment(rerankers=systems), tmp_path / folder)
    return tmp_path


def test_a_cell_measured_twice_is_refused_and_nothing_is_written(two_machines: Path) -> None:
    with pytest.raises(InputError, match=r"the same cell, measured twice.*--prefer .*rerankbench report"):
        merge([two_machines / "a", two_machines / "b"], two_machines / "all")
    assert not (two_machines / "all").exists()


@pytest.mark.parametrize("preferred", ["a", "b"])
def test_the_preferred_folders_copy_is_kept(two_machines: Path, preferred: str) -> None:
    folders = [str(two_machines / name) for name in "ab"]
    out = two_machines / "all"
    arguments = ["merge", *folders, "--prefer", f"{two_machines}/./{preferred}", "--out", str(out)]
    assert main(arguments) == 0
    assert len(read_results(out).cells) == 5
    assert measured(out, preferred) == measured(two_machines / preferred, preferred)


def test_a_preferred_folder_replaces_a_cell_that_was_merged_before(two_machines: Path) -> None:
    out = two_machines / "all"
    merge([two_machines / "a"], out)
    merge([two_machines / "b"], out, prefer=two_machines / "b")
    assert measured(out, "b") == measured(two_machines / "b", "b")


def test_a_preferred_folder_that_is_not_merged_is_refused(two_machines: Path) -> None:
    with pytest.raises(InputError, match=r"--prefer .*c: not one of the folders.*a, .*b"):
        merge([two_machines / "a", two_machines / "b"], two_machines / "all", two_machines / "c")


def test_an_unfinished_copy_is_not_preferred(two_machines: Path) -> None:
    for record in (two_machines / "a").glob("*/record.json"):
        record.write_text(record.read_text().replace('"done"', '"running"'))
    merge([two_machines / "a", two_machines / "b"], two_machines / "all", prefer=two_machines / "a")
    assert {cell.record.status for cell in read_results(two_machines / "all").cells} == {"done"}


@pytest.mark.parametrize("name", ["first-stage", "random", "reverse", "oracle"])
def test_one_copy_of_a_first_stage_or_control_is_kept_if_all_rank_the_same(
    write_experiment: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    for folder in ("a", "b"):
        go(write_experiment(rerankers=name), tmp_path / folder)
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    assert measured(tmp_path / "all", name) == measured(tmp_path / "a", name)


def test_copies_of_a_control_that_rank_otherwise_are_refused(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        go(write_experiment(rerankers="random"), tmp_path / folder)
    (cell,) = (path.parent for path in (tmp_path / "b").glob("*/record.json"))
    record = readable_record(cell)
    assert record is not None
    lines = (cell / "ranking.trec").read_bytes()
    (cell / "queries.jsonl").unlink()  # as an imported cell, whose rankings no row vouches for
    write_imported(
        cell, record.model_copy(update={"is_imported": True, "seal": None}), lines.replace(b"d0", b"dx")
    )
    with pytest.raises(InputError, match="measured twice"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_finished_cell_stands_for_an_unfinished_one(
    write_experiment: Callable[..., Path], tmp_path: Path, order: str
) -> None:
    for folder in ("a", "b"):
        go(write_experiment(rerankers="reverse"), tmp_path / folder)
    (record,) = (tmp_path / "a").glob("*/record.json")
    record.write_text(record.read_text().replace('"done"', '"running"'))
    merge([tmp_path / folder for folder in order], tmp_path / "all")
    (cell,) = read_results(tmp_path / "all").cells
    assert cell.record.status == "done"
    assert cell.rows == read_results(tmp_path / "b").cells[0].rows


def test_a_folder_in_use_is_not_written(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    from rerankers.files.folder_lock import FolderLock

    go(write_experiment(rerankers="reverse"), tmp_path / "a")
    with FolderLock(tmp_path / "all"), pytest.raises(StoreError, match="is writing here"):
        merge([tmp_path / "a"], tmp_path / "all")


def test_a_record_of_another_cell_is_refused(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    go(write_experiment(rerankers="reverse"), tmp_path / "a")
    [record] = (tmp_path / "a").glob("*/record.json")
    record.write_text(record.read_text().replace(record.parent.name, "another"))
    with pytest.raises(StoreError, match=r"a: a record is of 'another', which has no folder"):
        merge([tmp_path / "a"], tmp_path / "all")
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("part", ["*reverse*/ranking.trec", "*reverse*/record.json", "pools/*/pool.jsonl.gz"])
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_what_is_damaged_in_one_folder_comes_from_the_other(
    write_experiment: Callable[..., Path], tmp_path: Path, order: str, part: str
) -> None:
    go(write_experiment(rerankers=["random", "reverse"]), tmp_path / "b")
    shutil.copytree(tmp_path / "b", tmp_path / "a")
    (damaged,) = (tmp_path / "a").glob(part)
    damaged.write_bytes(damaged.read_bytes()[:-20])
    merge([tmp_path / folder for folder in order], tmp_path / "all")
    results = read_results(tmp_path / "all")
    assert results.damaged == ()
    assert {cell.record.status for cell in results.cells} == {"done"}
    assert len(results.pool(results.cells[0].record.pool).queries) == 3
    orders = {cell.record.cell: dict(cell.rankings) for cell in read_results(tmp_path / "b").cells}
    assert {cell.record.cell: dict(cell.rankings) for cell in results.cells} == orders


def test_a_damaged_cell_stays_damaged_in_the_merged_folder(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    go(write_experiment(rerankers="reverse"), tmp_path / "a")
    (damaged,) = (tmp_path / "a").glob("*/ranking.trec")
    damaged.write_bytes(damaged.read_bytes()[:-20])
    merge([tmp_path / "a"], tmp_path / "all")
    assert [cell.record.status for cell in read_results(tmp_path / "all").cells] == ["damaged"]
