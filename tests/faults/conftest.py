"""Hostile input: whatever is in a file, the command line answers in one line that says where and what to do.

`RERANKBENCH_HYPOTHESIS=nightly` tries some hundred times as many inputs, and insists on a thousand bad ones.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import re
import shutil
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from benchmarks.cli.main import main
from rerankers.errors import InputError
from tests.faults.injector import TRIED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NIGHTLY = os.environ.get("RERANKBENCH_HYPOTHESIS") == "nightly"
LEAST_BAD_INPUTS = 1000

NASTY_VALUES: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 10**30, "", " ", "\x00", "a\nb", "../../etc/passwd", "/", "é\u2028",
    "\ud800", "x" * 300, [], {}, [[]], {"": None}, ["a", "a"], "NaN", "2001-99-99", "<script>", "{model}",
]  # fmt: skip
NASTY_TEXTS = [
    b"", b" ", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n\n", b"\t", b"{", b"}", b"[", b"]", b":",
    b"&a", b"*a", b"!!python/object/apply:os.system", b"<<: *a", b"- ", b"NaN", b"1e999", b"-", b"9" * 5000,
    b"\x1f\x8b\x08", b"\xc2\x85", b"\xed\xa0\x80", b"#", b"'", b'"', b"%s", b"null", b"../" * 9,
]  # fmt: skip


class Judge:
    """Runs commands on bad input, checks how they complain, and counts what they refused."""

    def __init__(self) -> None:
        self.refused: set[bytes] = set()

    def __call__(self, arguments: Sequence[str | Path], content: bytes, *names: str | Path) -> bool:
        """Whether a command refused its input, which it must do in one line that names one of `names`."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = main([str(argument) for argument in arguments])
        output = err.getvalue()
        assert "Traceback" not in output + out.getvalue()
        assert not re.search(r"\bunexpected [A-Z]\w*:|\b[A-Z]\w*(Error|Exception)\b", output), output
        if status == 0:
            return False
        assert status in (1, 2)
        complaints = [line for line in output.splitlines() if any(str(name) in line for name in names)]
        assert complaints, f"none of {[str(name) for name in names]} is named in: {output or out.getvalue()}"
        last = output.splitlines()[-1]
        assert output.count("\nrerankbench: ") + output.startswith("rerankbench: ") <= 1, output
        assert len(last) < 1500, "one line, not a dump"
        self.refused.add(hashlib.sha256(content).digest())
        return True

    def reading(self, read: Callable[[Path], Any], path: Path) -> bool:
        """Whether a function refused a file, which it must do in one line that begins with its name."""
        try:
            read(path)
        except InputError as error:
            message = str(error)
            assert message.startswith(str(path)), message
            assert len(message.splitlines()) == 1, message
            assert len(message) < 1500, "one line, not a dump"
            self.refused.add(hashlib.sha256(path.read_bytes()).digest())
            return True
        return False


class Broken:
    """Strategies for inputs that were right once."""

    @staticmethod
    def bytes_of(valid: bytes) -> st.SearchStrategy[bytes]:
        """One to three cuts, insertions, repetitions or changed bytes."""

        @st.composite
        def mutated(draw: st.DrawFn) -> bytes:
            data = valid
            for _ in range(draw(st.integers(1, 3))):
                start = draw(st.integers(0, len(data)))
                end = min(len(data), start + draw(st.integers(0, 40)))
                new = draw(
                    st.one_of(
                        st.sampled_from(NASTY_TEXTS), st.binary(max_size=6), st.just(data[start:end] * 2)
                    )
                )
                data = data[:start] + new + data[end:]
            return data

        return mutated()

    @staticmethod
    def value_of(valid: Any) -> st.SearchStrategy[Any]:
        """Return a JSON value with one to three of its parts replaced, removed, renamed or repeated."""

        @st.composite
        def mutated(draw: st.DrawFn) -> Any:
            value = copy.deepcopy(valid)
            for _ in range(draw(st.integers(1, 3))):
                places = list(_places(value))
                if not places:
                    return draw(st.sampled_from(NASTY_VALUES))
                holder, key = draw(st.sampled_from(places))
                _change(draw, holder, key)
            return value

        return mutated()


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *_places(value[key]))]


def _change(draw: st.DrawFn, holder: Any, key: Any) -> None:
    match draw(st.sampled_from(["replace", "remove", "rename", "repeat"])):
        case "remove":
            del holder[key]
        case "rename" if isinstance(holder, dict):
            holder[draw(st.sampled_from([f"{key}s", "", "__class__", "id"]))] = holder.pop(key)
        case "repeat" if isinstance(holder, list):
            holder.append(holder[key])
        case _:
            holder[key] = copy.deepcopy(draw(st.sampled_from(NASTY_VALUES)))


def as_json(value: Any) -> bytes:
    """JSON as careless programs write it: lone surrogates escaped, NaN allowed."""
    return json.dumps(value).encode()


_JUDGE = Judge()


@pytest.fixture(scope="session")
def judge() -> Judge:
    return _JUDGE


@pytest.fixture(scope="session")
def broken() -> Broken:
    return Broken()


@pytest.fixture(scope="session")
def dump() -> Callable[[Any], bytes]:
    return as_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    return tmp_path_factory.mktemp(request.module.__name__.rpartition(".")[2])


def rerank(candidates: Path, model: Path, name: str = "pe-rank") -> list[Any]:
    """Return the arguments of the command that reranks a file of candidates with a model."""
    out = candidates.with_suffix(".trec")
    option = ["--option", f"model={model}"]
    return ["rerank", "--reranker", name, *option, "--candidates", candidates, "--output", out]


def copy_with(source: Path, member: str, content: bytes, target: Path) -> Path:
    """Copy a model's folder to `target`, with other bytes in one of its files."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    (target / member).parent.mkdir(exist_ok=True)
    (target / member).write_bytes(content)
    return target


@pytest.fixture(scope="module")
def candidates(folder: Path) -> Path:
    """Return a file with one query and three candidates."""
    hits = [{"content": f"passage {p}", "docid": f"d{p}", "score": -p} for p in range(3)]
    path = folder / "hits.jsonl"
    path.write_text(json.dumps({"query": {"text": "what is it", "qid": "q1"}, "hits": hits}) + "\n")
    return path


for name, quick, thorough in (("faults", 6, 2000), ("slow-faults", 1, 200)):
    settings.register_profile(
        name,
        max_examples=thorough if NIGHTLY else quick,
        derandomize=not NIGHTLY,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _JUDGE.refused:  # in this process: with -n each worker has its own
        terminalreporter.write_line(f"{len(_JUDGE.refused)} distinct bad inputs refused in one line each")
    if TRIED:
        counts = " and ".join(f"{count} times '{kind}'" for kind, count in sorted(TRIED.items()))
        terminalreporter.write_line(f"faults at file operations: {counts}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if NIGHTLY and 0 < len(_JUDGE.refused) < LEAST_BAD_INPUTS:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
