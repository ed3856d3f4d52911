"""The command line: what it prints, what it leaves with, and one readable line for every error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from benchmarks.cli.main import main
from rerankers.errors import InputError
from rerankers.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Captured = pytest.CaptureFixture[str]

COMMANDS = [
    "init",
    "run",
    "report",
    "table",
    "compare",
    "rerank",
    "import-run",
    "list",
    "doctor",
    "completion",
    "selftest",
]


def error_of(capsys: Captured) -> str:
    """Return the one line of the error, without the lines about what was going on before."""
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("rerankbench: ")
    assert not any(line.startswith("Traceback") for line in lines)
    return lines[-1]


def test_without_a_command_it_prints_help(capsys: Captured) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    first_words = {line.split()[0] for line in printed.splitlines() if line.strip()}
    assert first_words >= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"examples:\n  rerankbench {command}" in capsys.readouterr().out


def test_the_version_is_the_distribution_s(capsys: Captured) -> None:
    from importlib.metadata import version

    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"rerankbench {version('rerankbench')}\n"


def test_run_says_where_the_results_are_and_what_comes_next(
    write_experiment: Callable[..., Path], tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "out"
    assert main(["run", str(write_experiment()), "--limit", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"2 of 2 cells done; results in {out}; next: rerankbench report {out}" in printed
    assert f"python -m webbrowser {out / 'report.html'}" in printed
    header = next(line for line in printed.splitlines() if line.startswith("System"))
    assert header.split()[:2] == ["System", "nDCG@10"]
    assert "No reranker improves" in printed or "ranks best" in printed or "reverse" in printed
    assert len((next(out.glob("*reverse*")) / "queries.jsonl").read_text().splitlines()) == 2


def test_a_dry_run_shows_the_cells_and_touches_nothing(
    write_experiment: Callable[..., Path], tmp_path: Path, capsys: Captured
) -> None:
    arguments = ["run", str(write_experiment()), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "to do         hits-given-4  first-stage  3 queries",
        "to do         hits-given-4  reverse  3 queries",
        f"2 of 2 cells to run, results in {tmp_path / 'out'}",
    ]
    assert not (tmp_path / "out").exists()
    main(arguments)
    capsys.readouterr()
    main([*arguments, "--dry-run"])
    assert "0 of 2 cells to run" in capsys.readouterr().out


def test_results_go_to_runs_by_the_experiment_s_name(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(write_experiment(name="mine"))]) == 0
    assert (tmp_path / "runs" / "mine" / "experiment.json").exists()


def test_bad_input_is_one_line_and_status_2(
    write_experiment: Callable[..., Path], tmp_path: Path, capsys: Captured
) -> None:
    path = write_experiment(measurs="AP")
    assert main(["run", str(path)]) == 2
    assert f"rerankbench: {path}:10: unknown key 'measurs'; did you mean measures" in error_of(capsys)
    assert main(["run", "nowhere.yaml"]) == 2
    assert "nowhere.yaml: no such file" in error_of(capsys)
    assert main(["report", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("hits.jsonl", '{"query": ', "hits.jsonl:1: "),
        ("qrels.txt", "q0 0 q0-d0 relevant\n", "qrels.txt:1: "),
        ("qrels.txt", None, "qrels.txt: "),
    ],
)
def test_broken_data_is_status_2_and_names_file_and_line(
    write_experiment: Callable[..., Path],
    tmp_path: Path,
    capsys: Captured,
    file: str,
    content: str | None,
    message: str,
) -> None:
    path = write_experiment()
    (tmp_path / file).unlink() if content is None else (tmp_path / file).write_text(content)
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_a_missing_extra_says_what_to_install(
    write_experiment: Callable[..., Path],
    tmp_path: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "needs_extra.py").write_text("import not_installed_anywhere\nclass Needy: pass\n")
    (tmp_path / "needy_options.py").write_text(
        "from rerankers.options import MethodOptions\n"
        "class NeedyOptions(MethodOptions):\n"
        "    implementation = 'needs_extra:Needy'\n"
        "    extra = 'some-extra'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(METHODS, "needy", "needy_options:NeedyOptions")
    path = write_experiment(rerankers="needy")
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    assert 'python -m pip install "rerankbench[some-extra]"' in capsys.readouterr().err


def test_a_failed_cell_is_status_1(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_method.py").write_text(
        "from rerankers import Reranker\n"
        "from rerankers.options import MethodOptions\n"
        "class Broken(Reranker):\n"
        "    def rerank(self, requests, clock): raise RuntimeError('no order')\n"
        "class BrokenOptions(MethodOptions):\n"
        "    implementation = 'broken_method:Broken'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(METHODS, "broken", "broken_method:BrokenOptions")
    path = write_experiment(rerankers=["broken", "reverse"])
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 1
    states = sorted(json.loads(path.read_text())["status"] for path in tmp_path.glob("out/*/record.json"))
    assert states == ["done", "failed"]


def test_what_nobody_expected_is_one_line_unless_debugging(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def broken(name: str) -> Path:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("benchmarks.experiments.config.find_experiment", broken)
    assert main(["run", "demo"]) == 1
    error_output = error_of(capsys)
    assert error_output.startswith("rerankbench: RuntimeError in `rerankbench run demo`: two lines. ")
    assert "--debug" in error_output
    for arguments in (["--debug", "run", "demo"], ["run", "demo", "--debug"]):
        with pytest.raises(RuntimeError):
            main(arguments)


def test_a_fault_that_names_only_a_key_says_what_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("benchmarks.experiments.config.find_experiment", lambda name: {}[name])
    assert main(["run", "demo"]) == 1
    assert "KeyError in `rerankbench run demo`: 'demo' is missing. " in error_of(capsys)


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["rnu", "demo"], "did you mean run"),
        (["train", "rnak", "x.yaml"], "did you mean rank"),
        (["list", "reranker"], "did you mean rerankers?"),
        (["table", "out", "--format", "latx"], "did you mean latex or text?"),
    ],
)
def test_a_misspelt_command_or_choice_offers_near_misses(
    capsys: Captured, arguments: list[str], near: str
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert near in capsys.readouterr().err


def test_an_error_that_repeats_a_long_input_leaves_its_middle_out_unless_debugging(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    secret = "s3cret-" * 20
    monkeypatch.setenv("SOME_API_KEY", secret)
    text = f"run.trec:1: {'9' * 700}{secret}{'9' * 5000} is no rank; write 1, 2, 3"

    def broken(name: str) -> Path:
        raise InputError(text)

    monkeypatch.setattr("benchmarks.experiments.config.find_experiment", broken)
    assert main(["run", "demo"]) == 2
    error_output = error_of(capsys)
    assert len(error_output) == len("rerankbench: ") + 1000
    assert error_output.startswith("rerankbench: run.trec:1: 999")
    assert error_output.endswith("999 is no rank; write 1, 2, 3")
    assert "9…9" in error_output
    assert "s3cret" not in error_output
    with pytest.raises(InputError, match=text):
        main(["--debug", "run", "demo"])


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGINT for one process")
def test_ctrl_c_leaves_a_folder_that_resumes_and_says_how(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "endless.py").write_text(
        "import time\nfrom rerankers.interface import Reranker\nfrom rerankers.options import MethodOptions\n"
        "class EndlessOptions(MethodOptions): implementation = 'endless:Endless'\n"
        "class Endless(Reranker):\n"
        " def rerank(self, requests, clock): print('in', flush=True); time.sleep(60)\n"
    )
    code = (
        "import signal, sys; from rerankers.registry import METHODS; from benchmarks.cli.main import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background shell may have it ignored
        "METHODS['endless'] = 'endless:EndlessOptions'\nsys.exit(main(sys.argv[1:]))"
    )
    out = tmp_path / "out"
    path = write_experiment(rerankers=["reverse", "endless"])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", code, "run", str(path), "--out", str(out), "--limit", "2"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert f"the same command resumes: rerankbench run {path} --out {out} --limit 2\n" in errors
    assert "Traceback" not in errors
    assert json.loads((next(out.glob("*reverse*")) / "record.json").read_text())["status"] == "done"
    assert json.loads((next(out.glob("*endless*")) / "record.json").read_text())["status"] == "running"


@pytest.mark.parametrize(
    ("arguments", "stopped", "says"),
    [
        (
            ["train", "rank", "mine.yaml", "--out", "a b"],
            "benchmarks.training_data.pe_rank.train",
            "what was saved is kept; the same command resumes: rerankbench train rank mine.yaml --out 'a b'",
        ),
        (["report", "runs/x"], "reports.formats.html.report", "to do it again: rerankbench report runs/x"),
    ],
)
def test_ctrl_c_prints_the_command_to_go_on_with(
    arguments: list[str], stopped: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stopped, stop)
    assert main(arguments) == 130
    assert error_of(capsys) == f"rerankbench: interrupted; {says}"


def test_rerank_writes_a_trec_run(
    write_candidates: Callable[..., dict[str, str]], tmp_path: Path, capsys: Captured
) -> None:
    write_candidates(queries=2, depth=3)
    out = tmp_path / "run.trec"
    files = ["--candidates", str(tmp_path / "hits.jsonl"), "--output", str(out)]
    assert main(["rerank", "--reranker", "reverse", *files]) == 0
    assert out.read_text().splitlines()[:3] == [
        "q0 Q0 q0-d2 1 3 reverse",
        "q0 Q0 q0-d1 2 2 reverse",
        "q0 Q0 q0-d0 3 1 reverse",
    ]
    assert not list(tmp_path.glob("*.part"))
    assert main(["rerank", "--reranker", "random", "--option", "seed=4", *files]) == 0
    assert len(out.read_text().splitlines()) == 2 * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reranker", "revers"], "unknown reranker 'revers'; did you mean reverse"),
        (["--reranker", "random", "--option", "sed=1"], "unknown option of random 'sed'; did you mean seed"),
        (["--reranker", "random", "--option", "seed"], "write it as key=value"),
        (["--reranker", "random", "--option", "seed=["], "not valid YAML"),
        (["--reranker", "random", "--option", "seed=x"], "option 'seed' of random"),
        (["--reranker", "oracle"], "oracle looks at the relevance grades"),
        (["--reranker", "reverse", "--output", "no/such/folder/run.trec"], "no such folder"),
        (["--reranker", "reverse", "--candidates", "nowhere.jsonl"], "nowhere.jsonl: cannot be read"),
    ],
)
def test_rerank_refuses_bad_input(
    write_candidates: Callable[..., dict[str, str]],
    tmp_path: Path,
    capsys: Captured,
    arguments: list[str],
    message: str,
) -> None:
    write_candidates()
    files = ["--candidates", str(tmp_path / "hits.jsonl"), "--output", str(tmp_path / "run.trec")]
    assert main(["rerank", *files, *arguments]) == 2
    assert message in error_of(capsys)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("rerankers", "pe-rank"),
        ("encoders", "BAAI/bge-base-en-v1.5"),
        ("datasets", "bundled"),
        ("measures", "nDCG"),
        ("experiments", "demo"),
    ],
)
def test_list_shows_what_can_be_named(what: str, line: str, capsys: Captured) -> None:
    assert main(["list", what]) == 0
    assert any(printed.startswith(line) for printed in capsys.readouterr().out.splitlines())
