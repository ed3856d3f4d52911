"""Saved benchmark runs are compared value by value, stages included."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.micro.compare import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def saved(path: Path, commit: str, seconds: float, node: str = "here", **extra: Any) -> str:
    one = {"name": "test_it", "stats": {"median": seconds}, "extra_info": extra}
    other = {"name": f"only in {commit}", "stats": {"median": 1.0}, "extra_info": {}}
    machine = {"node": node, "cpu": {"brand_raw": "Example CPU"}}
    run = {"machine_info": machine, "commit_info": {"id": commit}, "benchmarks": [other, one]}
    path.write_text(json.dumps(run), encoding="utf-8")
    return str(path)


def test_two_runs_are_compared_by_benchmark_and_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = saved(tmp_path / "old.json", "0123456789", 0.5, prefill_ms=400.0, decode_ms=0.0, note="slow")
    new = saved(tmp_path / "new.json", "abcdef0123", 0.25, prefill_ms=100.0, decode_ms=3.0)
    main([old, new])
    head, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["01234567", "abcdef01", "ratio"]
    assert rows == [
        ["test_it", "median_ms", "500", "250", "0.50"],
        ["test_it", "prefill_ms", "400", "100", "0.25"],
        ["test_it", "decode_ms", "0", "3"],
    ]


def test_runs_of_two_machines_say_nothing_about_the_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (saved(tmp_path / f"{node}.json", "0", 1.0, node) for node in ("here", "there"))
    main([old, new])
    assert "measured on different machines" in capsys.readouterr().out
