"""A system's utilisation of a GPU: FLOPs counted and seconds measured, against the published peak."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.results.record import Operations
    from benchmarks.results.store import CellResult


def cell_utilisation(cell: CellResult) -> dict[str, float]:
    """Return utilisation by stage of a cell whose operations were counted, against the peak of one GPU.

    Empty where nothing was counted, or where the cell was not measured on a single kind of GPU that is known.
    """
    record = cell.record
    gpus = {
        gpu["model"]
        for session in record.sessions
        for gpu in session.environment.get("gpu") or [{"model": ""}]
    }
    dtype = str(record.system.described.get("dtype", "")).removeprefix("torch.")
    peak = peak_flops_per_second(gpus.pop(), dtype) if len(gpus) == 1 else None
    if record.operations is None or peak is None:
        return {}
    seconds = {
        stage: fmean(row.stage_seconds.get(stage, 0.0) for row in cell.rows)
        for stage in record.operations.flops
    }
    return utilisation(record.operations, seconds, peak)


def peak_flops_per_second(gpu: str, dtype: str) -> float | None:
    """Return a GPU's published dense peak by its driver's name for it; None where none is listed.

    A listed name has to be the last words of it: "NVIDIA L40S" is no "NVIDIA L4", and slices of a GPU, laptop
    chips and other variants have peaks of their own.
    """
    listed = json.loads((Path(__file__).parent / "gpu_peaks.json").read_text(encoding="utf-8"))["gpus"]
    names = [name for name in listed if f" {gpu}".endswith(f" {name}")]
    return listed[names[0]]["tflops"].get(dtype, 0.0) * 1e12 or None if names else None


def utilisation(operations: Operations, stage_seconds: Mapping[str, float], peak: float) -> dict[str, float]:
    """Return model FLOPs utilisation by stage (Chowdhery et al., PaLM, 2022, appendix B).

    Args:
        operations: what was counted.
        stage_seconds: mean seconds per query by stage, of the same system.
        peak: what the hardware can do, in FLOPs per second.
    """
    return {
        stage: count / operations.queries / stage_seconds[stage] / peak
        for stage, count in operations.flops.items()
        if stage_seconds.get(stage)
    }
