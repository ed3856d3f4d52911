"""The doctor says what works, and what to do about the rest."""

from __future__ import annotations

import urllib.error
from typing import TYPE_CHECKING

from benchmarks.cli import doctor
from benchmarks.cli.main import main

if TYPE_CHECKING:
    import pytest


def test_every_finding_that_does_not_work_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--offline", "--quick"]) == 0
    printed = capsys.readouterr().out
    for name in ("python", "packages", "GPU", "Java", "bm25", "cache", "API key"):
        assert f"  {name} " in printed


def test_what_is_missing_comes_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    findings = {finding.name: finding for finding in doctor._extras()}
    assert not findings["bm25"].works
    assert findings["bm25"].remedy == 'python -m pip install "rerankbench[bm25]"'


def test_an_unreachable_network_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, timeout: float) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    finding = doctor._reachable("PyPI", "https://pypi.org", "work offline")
    assert str(finding) == "--  PyPI            https://pypi.org cannot be reached (no route); work offline"


def test_a_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key")
    assert not any("canary-key" in str(finding) for finding in doctor.examine(use_network=False))
