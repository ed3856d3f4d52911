"""Names and options are checked before anything is loaded, and errors say what to do."""

from __future__ import annotations

import pytest

from rerankers import create, registry
from rerankers.errors import InputError, MissingExtraError, UnknownNameError


def test_an_unknown_name_offers_near_misses() -> None:
    with pytest.raises(UnknownNameError, match="did you mean pe-rank"):
        create("perank", {})


def test_an_unknown_option_offers_near_misses() -> None:
    with pytest.raises(UnknownNameError, match="did you mean seed"):
        create("random", {"seeds": 1})


def test_an_option_of_the_wrong_type_is_named() -> None:
    with pytest.raises(InputError, match=r"option 'seed' of random: .* got 'many'"):
        create("random", {"seed": "many"})


def test_a_missing_required_option_is_named() -> None:
    with pytest.raises(InputError, match="oracle needs the option 'qrels'"):
        create("oracle", {})


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    row = registry.Row("rerankers.not_installed:Nothing", "test row", extra="openai")
    monkeypatch.setitem(registry.ROWS, "absent", row)
    with pytest.raises(MissingExtraError, match=r'pip install "rerankbench\[openai\]"'):
        create("absent", {})
