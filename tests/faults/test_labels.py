"""Labels from outside: whatever a system is called, the page, its figures and the terminal show it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import vl_convert
import yaml

from benchmarks.cli.main import main
from benchmarks.cli.redaction import as_line
from benchmarks.measuring.progress import say
from reports.formats import html
from rerankers.progress import Activity, shown
from rerankers.text.printable import printable, shortened

if TYPE_CHECKING:
    from pathlib import Path

LABELS = {
    "escape": "red \x1b[31mtext",
    "bell and carriage return": "a\x07b\rc",
    "no character": "a\uffffb\ufdd0c\U0001fffe",
    "line separator": "a\u2028b\u2029c",
    "next line": "a\x85b",
    "long": "word " * 4000,
}
HITS = [{"content": f"passage {p}", "docid": f"d{p}", "score": 3.0 - p} for p in range(3)]


def write_experiment(folder: Path) -> Path:
    lines = [json.dumps({"query": {"text": f"query {q}", "qid": f"q{q}"}, "hits": HITS}) for q in range(3)]
    (folder / "hits.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "qrels.txt").write_text("".join(f"q{q} 0 d{q} 1\n" for q in range(3)))
    parts = [{"name": "reverse"}, {"name": "random"}]
    systems = [
        {"name": "fusion", "label": label, "options": {"parts": parts, "k": 10.0 + number}}
        for number, label in enumerate(LABELS.values())
    ]
    experiment = {
        "name": "test",
        "datasets": {"candidates": "hits.jsonl", "qrels": "qrels.txt", "name": "data\x1b[2J\u2028\uffff"},
        "first_stages": "given",
        "depths": 3,
        "rerankers": ["first-stage", *systems],
        "protocol": {"warmup": 0},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    return folder / "experiment.yaml"


@pytest.fixture(scope="module")
def results(folder: Path) -> Path:
    assert main(["run", str(write_experiment(folder)), "--out", str(folder / "out")]) == 0
    return folder / "out"


def unshown(text: str) -> list[str]:
    """Characters that a terminal obeys, JavaScript ends lines at, or no font holds."""
    return re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufdd0-\ufdef\ufffe\uffff\U0001fffe]", text)


def test_a_report_with_hostile_labels_is_written_whole(results: Path) -> None:
    # in a process of its own: the chart library ends the whole process at a character that no font may hold
    program = "import sys; from benchmarks.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "report", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    page = (results / "report.html").read_text()
    assert "red \\x1b[31mtext" in page
    for path in [*results.glob("report-tables/*"), *results.glob("report-figures/*.svg")]:
        assert unshown(path.read_text()) == [], path
    figures = {path.stem for path in results.glob("report-figures/*.svg")}
    assert {name.rpartition("-")[0] for name in figures} >= {"latency"}
    assert figures == {path.stem for path in results.glob("report-figures/*.pdf")}


@pytest.mark.parametrize("format_name", ["markdown", "latex", "csv"])
def test_a_table_shows_controls_by_their_numbers(
    results: Path, capsys: pytest.CaptureFixture[str], format_name: str
) -> None:
    assert main(["table", str(results), "--format", format_name]) == 0
    printed = capsys.readouterr().out
    assert unshown(printed) == []
    assert max(map(len, re.split(r"[|&\n]", printed))) < 5000  # a cell of Markdown, LaTeX or text


def test_nothing_that_a_run_says_moves_the_cursor(
    folder: Path, results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert results.exists()
    monkeypatch.setattr("rerankers.progress.display.SILENT_SECONDS", 0.0)
    for arguments in (["--dry-run"], ["--out", str(folder / "again")]):
        assert main(["run", str(folder / "experiment.yaml"), *arguments]) == 0
    captured = capsys.readouterr()
    assert "\\x1b[31mtext" in captured.err + captured.out
    assert unshown(captured.err + captured.out) == []
    say("a\x1b]0;title\x07b")
    assert as_line("a\x1b[31mb\u2028") == "a\\x1b[31mb\\u2028"
    capsys.readouterr()
    with shown() as display, Activity("label \x1b[2J", is_timed=True):
        display.tick()
    told = capsys.readouterr().err
    assert "label" in told
    assert unshown(told) == []


def test_a_figure_that_cannot_be_drawn_is_said_and_the_others_are_written(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw, calls = vl_convert.vegalite_to_svg, []

    def once_broken(specification: dict[str, Any]) -> str:
        calls.append(specification)
        if len(calls) == 1:
            raise ValueError("no such font")
        text: str = draw(specification)
        return text

    monkeypatch.setattr(vl_convert, "vegalite_to_svg", once_broken)
    html.report([results], tmp_path / "page.html")
    assert "cannot be drawn and is left out: no such font" in capsys.readouterr().err
    assert len(list(tmp_path.glob("page-figures/*.svg"))) == len(calls) - 1 > 0


def test_printable_text_keeps_every_script_and_emoji() -> None:
    text = "naïve Straße שלום 日本語 👩‍🔬 ½"
    assert printable(text) == text
    assert printable("a\tb\nc", keep="\n") == "a\\x09b\nc"
    assert printable("\ud800\ufffe\U0010ffff") == "\\ud800\\ufffe\\U0010ffff"
    assert shortened("x" * 300, 200) == "x" * 150 + "…" + "x" * 49
    assert len(shortened("x" * 300, 200)) == 200
