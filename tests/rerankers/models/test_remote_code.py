"""Code that a model brings needs a pinned commit; what loaders raise becomes one line."""

from __future__ import annotations

import pytest

from rerankers.errors import InputError, ModelError
from rerankers.models.remote_code import check_pinned, loading


@pytest.mark.parametrize("revision", [None, "main", "0" * 39, "0" * 41, "G" * 40])
def test_only_a_whole_commit_is_pinned(revision: str | None) -> None:
    with pytest.raises(InputError, match="'org/name' may run its own code only at a pinned commit"):
        check_pinned("org/name", revision)
    check_pinned("org/name", "0123456789abcdef" * 2 + "01234567")


def test_an_error_that_says_what_to_do_stays_as_it_is() -> None:
    error = InputError("do this")
    with pytest.raises(InputError) as raised, loading("encoder", "org/name"):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    ("trust", "reason", "says"),
    [
        (None, "set trust_remote_code", "brings its own code, which is never run here; use a model"),
        (False, "set trust_remote_code", "brings its own code; set trust_remote_code: true and revision"),
        (False, "\n  torn\nfile", "cannot load the encoder 'org/name': torn$"),
        (False, "", "cannot load the encoder 'org/name': ValueError$"),
    ],
)
def test_what_a_loader_raises_is_one_line(trust: bool | None, reason: str, says: str) -> None:
    with pytest.raises(ModelError, match=says), loading("encoder", "org/name", trust):
        raise ValueError(reason)
