"""The utilisation of a GPU: FLOPs counted and seconds measured, against the published peak."""

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
    """Return a cell's utilisation of one GPU's peak, by stage, as a share from 0 to 1.

    Empty where no operations were counted, or the cell was not measured on a single known kind of GPU.
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
    """Return a GPU's published dense peak in FLOPs per second; None where none is listed.

    A listed name must be the last words of the driver's: "NVIDIA L40S" does not match "NVIDIA L4". Slices of
    a GPU, laptop chips and other variants have peaks of their own.

    Args:
        gpu: the driver's name for the GPU.
        dtype: type of the weights, such as `bfloat16`.
    """
    listed = json.loads((Path(__file__).parent / "gpu_peaks.json").read_text(encoding="utf-8"))["gpus"]
    names = [name for name in listed if f" {gpu}".endswith(f" {name}")]
    return listed[names[0]]["tflops"].get(dtype, 0.0) * 1e12 or None if names else None


def utilisation(operations: Operations, stage_seconds: Mapping[str, float], peak: float) -> dict[str, float]:
    """Return the model FLOPs utilisation by stage, 0 to 1 (Chowdhery et al., PaLM, 2022, appendix B).

    Stages without measured seconds are left out.

    Args:
        operations: FLOPs by stage, summed over `queries`.
        stage_seconds: mean seconds per query by stage, of the same system.
        peak: FLOPs per second that the hardware can do.
    """
    return {
        stage: count / operations.queries / stage_seconds[stage] / peak
        for stage, count in operations.flops.items()
        if stage_seconds.get(stage)
    }
