"""Imports point one way: rerankers <- benchmarks <- reports; the command line starts light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "rerankers": {"rerankers"},
    "benchmarks": {"rerankers", "benchmarks"},
    "reports": {"rerankers", "benchmarks", "reports"},
}
# Reports see result folders, never a model or a dataset.
READABLE = {
    "benchmarks.candidates.frozen",
    "benchmarks.cli.command",
    "benchmarks.collector",
    "benchmarks.measuring.conditions",
    "benchmarks.evaluation.agreement",
    "benchmarks.evaluation.ranking_agreement",
    "benchmarks.evaluation.changes",
    "benchmarks.evaluation.graded",
    "benchmarks.evaluation.judged",
    "benchmarks.evaluation.measures",
    "benchmarks.evaluation.pairwise",
    "benchmarks.evaluation.resampling",
    "benchmarks.measuring.progress",
    "benchmarks.results.judgements",
    "benchmarks.evaluation.session_speed",
    "benchmarks.measuring.hardware",
    "benchmarks.measuring.slo",
    "benchmarks.results.record",
    "benchmarks.results.sessions",
    "benchmarks.evaluation.statistics",
    "benchmarks.results.store",
    "benchmarks.results.stored",
    "benchmarks.measuring.utilisation",
    "rerankers.errors",
    "rerankers.files.paths",
    "rerankers.files.writing",
    "rerankers.interface",
    "rerankers.progress.activities",
    "rerankers.registry",  # imports a table of one's own
    "rerankers.text.printable",
    "rerankers.text.redaction",
    "rerankers.stages",
}
LAUNCHERS = {"benchmarks/micro/workloads/large_report.py"}  # times a large page


def imports(path: Path) -> set[str]:
    """Modules of this project that a file imports, wherever in it, also by `import_module`."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import, which this test cannot follow"
            is_package = (ROOT / (node.module or "").replace(".", "/")).is_dir()  # its names are modules
            modules |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if is_package else {node.module or ""}
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = re.fullmatch(r"((?:rerankers|benchmarks|reports|tests)(?:\.\w+)+)(?::\w+)?", node.value)
            modules |= {named[1]} if named else set()  # a row of a registry, or what `import_module` is given
    return {name for name in modules if name.partition(".")[0] in {*MAY_IMPORT, "tests"}}


def imported_modules(path: Path) -> set[str]:
    """Modules that a file imports, wherever in it, with the names taken from them; no rows of registries."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return modules


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        if path.relative_to(ROOT).as_posix() not in LAUNCHERS:
            wrong = {name for name in imports(path) if name.partition(".")[0] not in MAY_IMPORT[package]}
            assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_reports_see_results_only() -> None:
    for path in (ROOT / "reports").rglob("*.py"):
        wrong = {name for name in imports(path) if not name.startswith("reports")} - READABLE
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    files = [path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")]
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}
    left = {name: imported_modules(path) & modules.keys() - {name} for name, path in modules.items()}
    while free := {name for name, needed in left.items() if not needed & left.keys()}:
        left = {name: needed for name, needed in left.items() if name not in free}
    assert not left


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], []])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from benchmarks.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print('IMPORTED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.rpartition("IMPORTED")[2].split())
    heavy = {"torch", "transformers", "pyserini", "pydantic", "scipy", "ir_measures", "ir_datasets", "yaml"}
    heavy |= {"openai", "httpx2"}
    assert not loaded & heavy
