"""Durations and sizes as people read them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return seconds as `0.3 s`, `42 s`, `3 min` or `2 h 5 min`: as precise as a person needs."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def megabytes(size_bytes: int) -> str:
    """Return bytes as `3 MB` or `1.2 GB`: as precise as a person needs."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{max(1, round(size_bytes / 1e6))} MB"
