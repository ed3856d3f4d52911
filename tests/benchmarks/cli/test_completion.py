"""Completion in real shells: what is offered can be called."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from benchmarks.cli.main import main
from reports.tables.registry import LAYOUTS

if TYPE_CHECKING:
    from pathlib import Path


def printed(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("rerankbench r", {"run", "report", "rerank"}),
        ("rerankbench run --l", {"--limit"}),
        ("rerankbench run de", {"demo"}),
        ("rerankbench train sh", {"shrink"}),
        ("rerankbench train shrink --dtype ", {"float16", "bfloat16", "float32"}),
        ("rerankbench train rank mistral-r", {"mistral-rank"}),
        ("rerankbench rerank --output x --reranker pe", {"pe-rank"}),
        ("rerankbench table runs --layout st", {"stages"}),
        ("rerankbench table --layout ", set(LAYOUTS)),
        ("rerankbench list me", {"measures"}),
        ("rerankbench report ca", {"candidates.jsonl"}),
    ],
)
def test_bash_completes(
    line: str, offered: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    (tmp_path / "candidates.jsonl").touch()
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    ask = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _shtab_rerankbench '' '{words[-1]}'"
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{printed('bash', capsys)}\n{ask}\necho ${{COMPREPLY[@]}}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert not done.stderr
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_is_valid(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(shell, capsys)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_offer_commands_options_and_values(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(shell, capsys)
    assert {"selftest", "reranker", "pe-rank", "dtype", "bfloat16"} <= set(
        re.findall(r"[\w-]+\w", text.replace("--", " "))
    )
