"""Names and options are checked before anything is loaded, and errors say what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, ClassVar

import pytest

from rerankers import create, registry
from rerankers.errors import InputError, MissingExtraError, UnknownNameError
from rerankers.options import MethodOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers import RerankRequest, StageClock


def test_an_unknown_name_offers_near_misses() -> None:
    with pytest.raises(UnknownNameError, match="did you mean pe-rank"):
        create("perank", {})


def test_an_unknown_option_offers_near_misses() -> None:
    with pytest.raises(UnknownNameError, match="did you mean seed"):
        create("random", {"seeds": 1})


def test_an_option_of_the_wrong_type_is_named() -> None:
    with pytest.raises(InputError, match=r"option 'seed' of random: .* got 'many'"):
        create("random", {"seed": "many"})


@pytest.mark.parametrize(
    ("name", "option"),
    [("random", "seed"), ("embedding", "max_length"), ("embedding", "batch_tokens"), ("pe-rank", "window")],
)
@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_no_number(name: str, option: str, value: bool) -> None:
    with pytest.raises(InputError, match=f"option '{option}' of {name} is a number, got {value}"):
        create(name, {"model": "org/name", option: value} if name != "random" else {option: value})


def test_a_missing_required_option_is_named() -> None:
    with pytest.raises(InputError, match="oracle needs the option 'qrels'"):
        create("oracle", {})


class AbsentOptions(MethodOptions):
    implementation: ClassVar[str] = "rerankers.not_installed:Nothing"
    extra: ClassVar[str | None] = "train"


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.METHODS, "absent", f"{__name__}:AbsentOptions")
    with pytest.raises(MissingExtraError, match=r'pip install "rerankbench\[train\]"'):
        create("absent", {})


OWN = """
from rerankers import Reranker
from rerankers.interface import Cost, Ranking
from rerankers.options import MethodOptions
class LastOptions(MethodOptions):
    times: int = 1
class Last(Reranker):
    options_model = LastOptions
    def __init__(self, options): self.times = options.times
    def rerank(self, requests, clock):
        return [Ranking.of(r, range(len(r.candidates))[::-1], Cost()) for r in requests]
"""


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, which holds a reranker of one's own in `own_last.py`."""
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_last", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_last.py").write_text(OWN)
    return tmp_path


@pytest.mark.usefixtures("own_folder")
def test_a_reranker_of_your_own_is_named_by_module_and_class(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = create("own_last:Last", {"times": 2})
    [ranking] = reranker.rerank([make_request("q", ["a", "b", "c"])], clock)
    assert ranking.doc_ids == ("d2", "d1", "d0")
    with pytest.raises(UnknownNameError, match="unknown option of own_last:Last 'time'; did you mean times"):
        create("own_last:Last", {"time": 2})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_last:First", "own_last has no class 'First' that is a rerankers.Reranker"),
        ("own_last:OWN", "own_last has no class 'OWN'"),
        ("own_list:Last", "no module 'own_list'; start rerankbench in the folder of own_list.py, or install"),
        ("no_package.module:Last", "no module 'no_package.module'"),
        ("own_needy:Last", "own_needy needs the package 'not_installed_anywhere'"),
        ("own last:Last", "unknown reranker"),
    ],
)
def test_what_is_wrong_with_a_reranker_of_your_own_is_said(own_folder: Path, name: str, message: str) -> None:
    (own_folder / "own_needy.py").write_text("import not_installed_anywhere\n")
    with pytest.raises(InputError, match=message):
        create(name, {})
