"""The harness as Python functions, for notebooks and scripts: `from benchmarks import run_experiment`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from benchmarks.executors.local import Outcome, run
from benchmarks.experiments.config import find_experiment, load_experiment

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Outcome", "run_experiment"]


def run_experiment(
    experiment: str | Path | Mapping[str, object], out: str | Path | None = None, **changes: object
) -> Outcome:
    """Run an experiment, or the cells of it that are not finished, as `rerankbench run` does.

    Args:
        experiment: an experiment file, the name of a ready experiment, or an experiment's keys and values.
        out: the result folder; by default the experiment's own, else `runs/NAME`.
        changes: keys whose values replace those of the experiment, such as `limit=5, depths=[20]`.

    Returns:
        the outcome: its `folder`, the number of `cells`, their `failures` by name, and `dollars`.

    Raises:
        InputError: the experiment is not valid, or an endpoint's key is not set.
        StoreError: the result folder is in use, damaged, or cannot be written.
    """
    overrides = [f"{key}={_as_yaml(value)}" for key, value in changes.items()]
    if isinstance(experiment, str | Path):
        loaded, config = load_experiment(find_experiment(str(experiment)), overrides)
    else:
        loaded, config = load_experiment(Path("experiment"), overrides, _as_yaml(experiment))
    return run(loaded, config, Path(out or loaded.out or f"runs/{loaded.name}"))


def _as_yaml(value: object) -> str:
    """Return a value as YAML text, with paths as strings."""
    plain = json.loads(json.dumps(value, default=str))  # paths become strings
    return yaml.safe_dump(plain, allow_unicode=True, sort_keys=False).removesuffix("...\n").strip()
