"""Files and modules of an experiment travel with its tasks, and what is missing on a node is named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.executors import travel
from benchmarks.executors.travel import Luggage, pack, unpack
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.experiments.plan import CellPlan

OWN = """
import beside
from kitchen.tools import knife
from rerankers.baselines import Reverse
from rerankers.options import MethodOptions


class OwnOptions(MethodOptions):
    file: str = ""
    weights: str = ""


class Own(Reverse):
    options_model = OwnOptions
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the driver's working folder, with a reranker of its own, a package, and data."""
    folder = tmp_path
    for name, content in {
        "own.py": OWN,
        "beside.py": "",
        "unrelated.py": "",
        "kitchen/__init__.py": "",
        "kitchen/tools/__init__.py": "",
        "kitchen/tools/knife.py": "",
        "kitchen/list.txt": "spoon",
        "data/words.txt": "words",
        "weights/model.bin": "x" * 1000,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield folder
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("own", "beside", "kitchen"):
            del sys.modules[name]


@pytest.fixture
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty folder for what travels, which also stands for Ray's copy of it."""
    return tmp_path_factory.mktemp("sent")


@pytest.fixture
def cells(home: Path, write_experiment: Callable[..., Path]) -> Callable[..., list[CellPlan]]:
    """Plans cells of a reranker with options."""

    def planned(name: str = "own:Own", **options: Any) -> list[CellPlan]:
        return plan(load_experiment(write_experiment(rerankers=[{"name": name, "options": options}]))[0])

    return planned


def test_a_module_its_imports_and_named_files_are_packed_and_nothing_else(
    cells: Callable[..., list[CellPlan]], sent: Path
) -> None:
    luggage = pack(cells(file="./data/words.txt", weights="weights/model.bin"), sent)
    files = {str(file.relative_to(sent)) for file in sent.rglob("*") if file.is_file()}
    package = {
        f"kitchen/{name}" for name in ("__init__.py", "tools/__init__.py", "tools/knife.py", "list.txt")
    }
    assert files == {"own.py", "beside.py", "data/words.txt", "weights/model.bin"} | package
    assert luggage.files.keys() == {"data/words.txt", "weights/model.bin"}
    assert luggage.expected == ()


def test_the_modules_of_components_are_packed(cells: Callable[..., list[CellPlan]], sent: Path) -> None:
    pack(cells("fusion", parts=[{"name": "reverse"}, {"name": "own:Own"}]), sent)
    assert (sent / "own.py").exists()


def test_registered_rerankers_without_files_need_no_luggage(
    cells: Callable[..., list[CellPlan]], home: Path, sent: Path
) -> None:
    assert pack(cells("reverse"), sent) == Luggage(str(home), {}, ())
    assert not [*sent.iterdir()]


def test_what_is_too_large_or_elsewhere_is_expected_on_the_node_and_named_if_it_is_missing(
    cells: Callable[..., list[CellPlan]],
    sent: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(travel, "MOST_BYTES", 900)
    outside = tmp_path_factory.mktemp("outside") / "words.txt"
    outside.write_text("words")
    some = cells(file=str(outside), weights="weights/model.bin")
    luggage = pack(some, sent)
    assert luggage.expected == (str(outside), "weights/model.bin")
    unpack(luggage, some, "n1")  # here, everything is there
    copy = luggage._replace(working_folder="/driver/only")
    monkeypatch.chdir(sent)
    with pytest.raises(InputError, match=r"^node n1: /driver/only/weights/model.bin: is missing"):
        unpack(copy, some, "n1")
    outside.unlink()
    with pytest.raises(InputError, match=rf"^node n1: {outside}: is missing"):
        unpack(copy, some, "n1")


def test_a_node_with_the_same_working_folder_works_in_it_and_one_with_other_files_does_not(
    cells: Callable[..., list[CellPlan]], home: Path, sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = cells(file="data/words.txt")
    luggage = pack(some, sent)
    monkeypatch.chdir(sent)
    unpack(luggage, some, "n1")
    assert Path.cwd() == home
    (home / "data" / "words.txt").write_text("others")
    monkeypatch.chdir(sent)
    unpack(luggage, some, "n1")
    assert Path.cwd() == sent


def test_a_module_that_a_node_lacks_is_named_with_node_and_folder(
    cells: Callable[..., list[CellPlan]], home: Path, sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = cells()
    for name in ("own", "beside"):
        del sys.modules[name]
        (home / f"{name}.py").unlink()
    monkeypatch.chdir(sent)
    with pytest.raises(InputError) as error:
        unpack(Luggage("/driver/only", {}, ()), some, "n1")
    assert str(error.value).startswith(f"node n1, folder {sent}: no module 'own'")
