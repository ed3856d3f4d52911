"""The hardware that a session ran on, as one line to compare and print."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def hardware(environment: Mapping[str, Any]) -> str:
    """Return one line about the GPUs and the CPU in a session's environment.

    Latencies of two sessions may be compared only if their lines are equal.
    """
    gpus = Counter(_device(gpu, "driver", "power_cap_watts") for gpu in environment.get("gpu") or ())
    parts = [gpu if count == 1 else f"{count} × {gpu}" for gpu, count in gpus.items()]
    if environment.get("cpu"):
        parts.append(_device(environment["cpu"], "cores", "usable_threads"))
    return " + ".join(parts) or "unknown hardware"


def _device(described: Mapping[str, Any], *details: str) -> str:
    """Return a device's model, with the named details in brackets where they are recorded."""
    recorded = [f"{name.replace('_', ' ')} {described[name]}" for name in details if described.get(name)]
    return (
        f"{described.get('model', 'unknown')} ({', '.join(recorded)})"
        if recorded
        else str(described.get("model"))
    )
