"""The script that draws charts is bundled once for each installed version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.charts.theme import PAPER
from reports.formats import vega

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_bundle_is_kept_and_a_damaged_one_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path))
    bundle = vega.script.__wrapped__()
    (kept,) = (tmp_path / "vega").iterdir()
    whole = kept.read_bytes()
    assert whole.endswith(bundle.encode())
    kept.write_bytes(whole[:-1])
    assert vega.script.__wrapped__() == bundle
    assert kept.read_bytes() == whole
    kept.write_bytes(b"// sha256 " + b"0" * 64 + b"\nalert(1)")
    assert vega.script.__wrapped__() == bundle


def test_a_cache_that_cannot_be_written_does_not_stop_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "file"))
    assert "vegaEmbed" in vega.script.__wrapped__()


def test_a_figure_is_drawn_as_svg_and_pdf_with_the_same_text() -> None:
    mark = {"mark": "text", "encoding": {"text": {"value": "named"}}}
    svg, pdf = vega.figure({"data": {"values": [{}]}, "config": PAPER.config(), **mark})
    assert "named" in svg
    assert pdf.startswith(b"%PDF-")
