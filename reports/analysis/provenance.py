"""The provenance of a folder's results: machines, libraries, configuration, and how they were measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from reports.analysis import measured
from reports.analysis.values import Experiment
from rerankers.text.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.results.store import Results


def experiment(folder: Results) -> Experiment:
    """Return the provenance of a result folder: its experiment's configuration, days and environments."""
    path = folder.folder / "experiment.json"
    about = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    sessions = [session for cell in folder.cells for session in cell.record.sessions]
    days = sorted({session.started_at[:10] for session in sessions})
    environments: list[dict[str, str]] = []
    for session in sessions:
        changing = ("state", "timing")  # load and the clock's own cost differ between any two sessions
        stable = {name: value for name, value in session.environment.items() if name not in changing}
        flat = flatten(stable)
        same = next((environment for environment in environments if _agree(environment, flat)), None)
        if same is None:
            environments.append(flat)
        else:
            same.update(flat)
    config = about.get("config")
    return Experiment(
        folder=folder.folder.name,
        name=printable(str(about.get("experiment", folder.folder.name))),
        measured=" to ".join(dict.fromkeys([days[0], days[-1]])) if days else "",
        config=printable(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), keep="\n")
        if config
        else "",
        environments=tuple(environments),
        method=measured.sentences(folder),
    )


def _agree(environment: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Return whether two flat environments have equal values for all names that both have.

    A session that never loaded torch knows less than one that did.
    """
    return all(environment.get(name, value) == value for name, value in other.items())


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested values into text by dotted name, `outer.inner`, in their own order; bytes become GiB.

    Args:
        values: the nested values.
        prefix: put before each name.
    """
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and any(isinstance(part, dict) for part in value):
            for position, part in enumerate(value):
                flat |= flatten(part, f"{prefix}{name}.{position}.")
        elif name.endswith("_bytes") and isinstance(value, int):
            flat[f"{prefix}{name.removesuffix('_bytes')}"] = f"{value / 2**30:.1f} GiB"
        elif value is not None and value != "":
            flat[f"{prefix}{name}"] = (
                ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            )
    return flat


def is_dirty(folder: Results) -> bool:
    """Return whether any session of a folder ran from a checkout with uncommitted changes."""
    return any(
        session.environment.get("git", {}).get("is_dirty")
        for cell in folder.cells
        for session in cell.record.sessions
    )
