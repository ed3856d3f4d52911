"""The files for pre-commit and for public CI name what the project itself pins and runs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def test_pre_commit_lints_with_the_pinned_version() -> None:
    pinned = re.findall(r"^ruff==.*$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [hook["additional_dependencies"] for hook in repository["hooks"]] == [pinned, pinned]


def test_public_ci_runs_scripts_that_are_here_on_every_supported_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    jobs = workflow["jobs"]
    scripts = {step["run"].split()[-1] for job in jobs.values() for step in job["steps"] if "run" in step}
    assert scripts == {".ci/run", ".ci/nightly"}
    assert all(os.access(ROOT / script, os.X_OK) for script in scripts)
    supported = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert jobs["check"]["strategy"]["matrix"]["python"] == supported
