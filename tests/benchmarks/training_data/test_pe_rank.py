"""Settings files of trainings are checked to the line, and the command trains from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.cli.main import main
from benchmarks.training_data.pe_rank import load_settings
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers.training.settings import Stage

LINES = [
    "llm: {model: some/llm}",
    "encoder: {model: some/encoder}",
    "data: {train: lists.jsonl}",
]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str) -> Path:
        path = tmp_path / "training.yaml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("stage", "tune", "learning_rate", "with_text", "max_length"),
    [
        ("align", "projector", 1e-3, True, 512),
        ("query", "lora", 1e-3, False, 4096),
        ("rank", "full", 2e-5, True, 4096),
    ],
)
def test_stages_start_from_the_papers_settings(
    write: Callable[..., Path],
    stage: Stage,
    tune: str,
    learning_rate: float,
    with_text: bool,
    max_length: int,
) -> None:
    (settings,) = load_settings(stage, write(*LINES, "optimizer: {batch_size: 4}"))
    assert settings.tune == tune
    assert settings.optimizer.learning_rate == learning_rate
    assert (settings.optimizer.schedule, settings.optimizer.warmup) == ("cosine", 0.03)
    assert settings.loss.with_text is with_text
    assert settings.loss.reduction == "paper"
    assert settings.max_length == max_length
    assert settings.optimizer.batch_size == 4
    assert (settings.lora.rank, settings.lora.alpha, settings.lora.dropout) == (8, 16, 0.05)
    assert settings.encoder.max_length == 128


def test_paths_start_at_the_file_and_numbers_may_be_written_without_a_point(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    path = write(*LINES)
    (settings,) = load_settings("rank", path, ["optimizer.learning_rate=1e-3", "loss.first_step.weight=0.5"])
    assert settings.optimizer.learning_rate == 1e-3
    assert settings.loss.first_step.weight == 0.5
    assert Path(settings.data.train) == tmp_path / "lists.jsonl"
    assert settings.llm.model == "some/llm"


@pytest.mark.parametrize(
    ("name", "is_path"),
    [
        ("bundled:pe-rank-smollm2-minilm", False),
        ("pypi:some-checkpoint==1.0", False),
        ("some/checkpoint", False),
        ("./some/checkpoint", True),
        ("runs/some/last", True),
        ("last", True),
    ],
)
def test_a_start_may_have_any_name_of_a_model(
    write: Callable[..., Path], tmp_path: Path, name: str, is_path: bool
) -> None:
    (settings,) = load_settings("rank", write(*LINES), [f"init_from={name}"])
    assert settings.init_from == (str(tmp_path / name) if is_path else name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("optimiser: {}", "4: unknown key 'optimiser'; did you mean optimizer"),
        ("optimizer: {learning_rat: 1}", "4: unknown key 'learning_rat'; did you mean learning_rate"),
        ("tune: some", "4: tune: "),
        ("lora: {rank: 0}", "4: lora.rank: "),
        ("lora: {merge_per_step: true}", "merge_per_step needs dropout: 0"),
        ("seed: one", "4: seed: "),
    ],
)
def test_mistakes_are_told_with_their_line(write: Callable[..., Path], line: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        load_settings("rank", write(*LINES, line))
    assert message in str(raised.value)


def test_a_list_of_encoders_is_one_training_each(write: Callable[..., Path]) -> None:
    path = write(LINES[0], "encoder:", "  - {model: a/one}", "  - {model: b/two, pooling: cls}", LINES[2])
    assert [settings.encoder.model for settings in load_settings("rank", path)] == ["a/one", "b/two"]


def test_the_command_trains_and_goes_on(
    write: Callable[..., Path],
    tmp_path: Path,
    tiny_llm: str,
    tiny_encoder: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))
    lists = [
        {"query": f"frost {number}", "passages": [f"a {number}", "b", "c"], "ranking": [2, 0, 1]}
        for number in range(4)
    ]
    (tmp_path / "lists.jsonl").write_text("\n".join(json.dumps(example) for example in lists))
    path = write(
        f"llm: {{model: {tiny_llm}, dtype: float32}}",
        f"encoder: {{model: {tiny_encoder}}}",
        "data: {train: lists.jsonl, validation: lists.jsonl}",
        "lora: {dropout: 0}",
        "optimizer: {batch_size: 2, max_steps: 2}",
    )
    out = tmp_path / "run"
    assert main(["train", "query", str(path), "--dry-run", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "dry run" in captured.out
    assert "2 steps, 1 epochs of 4 records" in captured.err
    assert not out.exists()
    for _ in range(2):
        assert main(["train", "query", str(path), "--out", str(out)]) == 0
        output = capsys.readouterr().out
        assert f"checkpoint: {out / 'best'}" in output
        assert f"next: rerankbench run {out / 'compare.yaml'}" in output
    assert main(["train", "shrink", str(out / "best"), "--rank", "2", "--out", str(tmp_path / "small")]) == 0
    assert "adapter of rank 2" in capsys.readouterr().out
    assert main(["train", "export", str(out / "best"), "--out", str(tmp_path / "theirs")]) == 0
    assert (tmp_path / "theirs" / "projector.bin").is_file()
    assert main(["train", "query", str(path), "--set", "seed=1", "--out", str(out)]) == 2


@pytest.mark.parametrize("command", [["train"], ["train", "rank"], ["train", "shrink"]])
def test_help_shows_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    assert "examples:" in capsys.readouterr().out
