"""`rerankbench compare`: an exit status that CI can trust."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.reports.conftest import Folder, Order

TEXTS = {f"q{i}": ["x", "y", "z"] for i in range(8)}


@pytest.fixture
def measured(folder: Folder, tmp_path: Path) -> Callable[..., None]:
    """Write one session of a system into `SIDE/NUMBER`, at a minute of its own."""

    def write(side: str, number: int, seconds: float, order: Order = folder.turned, **more: object) -> None:
        session_folder = type(folder)(tmp_path / side / str(number))
        minute = 2 * number + (side == "after")
        session = {"started_at": f"2025-03-01T10:{minute:02d}:00.000+00:00"}
        pool = session_folder.pool(TEXTS, {query_id: {"d2": 1} for query_id in TEXTS})
        session_folder.cell(pool, "S", order, seconds=lambda i: seconds + i / 100, session=session, **more)  # type: ignore[arg-type]

    return write


def compared(tmp_path: Path, capsys: pytest.CaptureFixture[str], *gates: str) -> tuple[int, str]:
    """Exit status, and all that was printed."""
    status = main(["compare", str(tmp_path / "before"), str(tmp_path / "after"), *gates])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def test_a_slow_down_beyond_the_gate_exits_with_1_and_a_smaller_one_with_0(
    measured: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        measured("before", number, 1.0 + number / 1000)
        measured("after", number, 1.2)
    status, printed = compared(tmp_path, capsys, "--fail-if-slower", "10%")
    assert status == 1
    assert "1.19 times slower (ratio 1.1" in printed
    assert "3 pairs of sessions" in printed
    assert "failed: S, " in printed
    assert compared(tmp_path, capsys, "--fail-if-slower", "0.25")[0] == 0
    assert compared(tmp_path, capsys)[0] == 0  # without a gate, nothing fails


def test_a_fall_in_quality_beyond_the_gate_exits_with_1(
    measured: Callable[..., None], folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured("before", 0, 1.0)
    measured("after", 0, 1.0, folder.kept)
    status, printed = compared(tmp_path, capsys, "--fail-if-worse", "0.01")
    assert status == 1
    assert "nDCG@10 fell by 0.5000" in printed
    assert "cannot be told apart here" in printed
    assert compared(tmp_path, capsys, "--fail-if-worse", "0.6")[0] == 0


def test_a_gate_that_cannot_be_judged_is_not_passed(
    measured: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured("before", 0, 1.0)
    measured("after", 0, 1.0)
    status, printed = compared(tmp_path, capsys, "--fail-if-slower", "10%")
    assert status == 2
    assert "3 sessions of each are needed" in printed


def test_a_system_that_failed_after_the_change_does_not_pass(
    measured: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: Folder
) -> None:
    measured("before", 0, 1.0)
    session_folder = type(folder)(tmp_path / "before" / "0")
    session_folder.cells = ["cell-00"]
    session_folder.cell(session_folder.pool(TEXTS, {}), "T", session_folder.kept)
    measured("after", 0, 1.0)
    status, printed = compared(tmp_path, capsys, "--fail-if-worse", "0.01")
    assert status == 1
    assert "failed: T, " in printed
    assert compared(tmp_path, capsys)[0] == 0


def test_other_hardware_is_not_compared(
    measured: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured("before", 0, 1.0)
    measured("after", 0, 1.0, environment={"cpu": {"model": "Other CPU"}})
    assert "not compared: the hardware differs" in compared(tmp_path, capsys)[1]
    assert compared(tmp_path, capsys, "--fail-if-slower", "10%")[0] == 2


def test_folders_without_results_say_how_to_make_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = compared(tmp_path, capsys)
    assert status == 2
    assert "rerankbench run" in printed


@pytest.mark.parametrize("share", ["ten", "-1%", "10%x", "nan"])
def test_a_gate_that_is_no_share_is_refused(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["compare", "a", "b", f"--fail-if-slower={share}"])
    assert left.value.code == 2
    assert "10% or 0.1" in capsys.readouterr().err
