"""What is released: the wheel has all that runs and nothing that tests, and says what it is."""

from __future__ import annotations

import email
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Data files that code opens by path, which a wheel could lose without any import failing.
DATA = [
    "benchmarks/bundled/corpus.jsonl",
    "benchmarks/bundled/qrels/test.tsv",
    "benchmarks/bundled/LICENSE",
    "benchmarks/configs/demo.yaml",
    "benchmarks/configs/training/mistral-rank.yaml",
    "benchmarks/cli/selftest_data/candidates.jsonl",
    "benchmarks/cli/starters.toml",
    "reports/published/rankgpt.yaml",
    "reports/templates/chart.html.j2",
    "rerankers/checkpoints/pe-rank-smollm2-minilm/adapter_model.safetensors",
    "rerankers/encoders/presets.toml",
    "rerankers/endpoints/prices.toml",
    "rerankers/listwise/attention_heads.toml",
    "rerankers/listwise/e2rank_prompts.toml",
    "rerankers/listwise/icr_prompts.toml",
    "rerankers/listwise/prompts.toml",
    "rerankers/models/wheels.toml",
    "rerankers/training/e2rank/sentences.toml",
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel and the sdist of this checkout, built without any network."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed: python -m tox -e dist builds in an environment of its own")
    folder = tmp_path_factory.mktemp("dist")
    code = "import sys; from hatchling.build import *; build_wheel(sys.argv[1]); build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> set[str]:
    [path] = built.glob("*.whl")
    return set(zipfile.ZipFile(path).namelist())


@pytest.fixture(scope="module")
def metadata(built: Path) -> Message:
    [path] = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_the_wheel_holds_every_tracked_file_of_the_packages(wheel: set[str]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "rerankers", "benchmarks", "reports"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    tracked = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    assert {name for name in tracked if not name.startswith("benchmarks/micro/")} <= wheel


def test_the_wheel_holds_the_data_that_code_opens(wheel: set[str]) -> None:
    assert set(DATA) <= wheel


@pytest.mark.parametrize("package", ["rerankers", "benchmarks", "reports"])
def test_every_package_is_typed(wheel: set[str], package: str) -> None:
    assert f"{package}/py.typed" in wheel


def test_no_test_is_installed(wheel: set[str]) -> None:
    assert not [name for name in wheel if re.search(r"(^|/)(tests?|micro|golden)/|test_\w+\.py$", name)]
    assert not [name for name in wheel if name.endswith((".pyc", ".log")) or "__pycache__" in name]


def test_the_wheel_is_small(built: Path) -> None:
    [path] = built.glob("*.whl")
    assert path.stat().st_size < 10 << 20


def test_the_licence_and_the_command_come_along(built: Path, wheel: set[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)
    [path] = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        [name] = [name for name in wheel if name.endswith("entry_points.txt")]
        assert b"rerankbench = benchmarks.cli.main:main" in archive.read(name)


def test_the_metadata_say_what_it_is(metadata: Message) -> None:
    assert metadata["Name"] == PROJECT["name"]
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert str(metadata.get_payload()).startswith("# rerankbench")
    assert set(metadata.get_all("Provides-Extra") or ()) == set(PROJECT["optional-dependencies"])


def test_the_version_is_written_in_one_place_only() -> None:
    assert "version" not in PROJECT.get("dynamic", [])
    named = [
        path
        for package in ("rerankers", "benchmarks", "reports")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"^(__version__|VERSION) *=", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert not named


def test_the_sdist_builds_the_package_and_runs_its_tests(built: Path) -> None:
    [path] = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = ["LICENSE", "README.md", "CITATION.cff", "CHANGELOG.md", "tox.ini", "constraints.txt"]
    needed += ["mkdocs.yml", "docs/site.css", ".ci/pages.py", ".ci/audit.py"]
    assert {*DATA, *needed, "tests/conftest.py", "docs/quick-start.md", "pyproject.toml"} <= names
    assert not any(os.path.isabs(name) or ".." in name.split("/") for name in names)  # noqa: PTH117 - names
