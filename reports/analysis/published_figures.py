"""Published figures, read from `reports/published/*.yaml`, each with its source and setting.

`settings.yaml` says what a method does where an option is not given; `datasets.yaml` how datasets are called.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

MEASURE = "nDCG@10"

FOLDER = Path(__file__).parents[1] / "published"
_OTHERS = ("datasets.yaml", "settings.yaml")


class Figure(NamedTuple):
    """One published nDCG@10 of a method on a dataset.

    Attributes:
        method: the name that the method is registered under.
        model: the model, as its hub id or by its usual name.
        names: other names of the model.
        first_stage: name of the first stage whose candidates were reranked.
        depth: candidates reranked; None for a first stage on its own.
        dataset: name of the dataset.
        value: the nDCG@10.
        tolerance: how far a reproduction may lie from it.
        source: where the figure was published.
        needs: options by name that a system must have to be compared with it; `context` is the most tokens
            of a prompt.
    """

    method: str
    model: str
    names: tuple[str, ...]
    first_stage: str
    depth: int | None
    dataset: str
    value: float
    tolerance: float
    source: str
    needs: dict[str, Any]


@lru_cache(maxsize=1)
def figures() -> tuple[Figure, ...]:
    """Read every published figure, file by file."""
    figures_found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name not in _OTHERS:
            content = _read(path.name)
            for row in content["rows"]:
                figures_found += [
                    Figure(
                        method=row["method"],
                        model=row["model"],
                        names=tuple(row.get("names", ())),
                        first_stage=row["first_stage"],
                        depth=row.get("depth"),
                        dataset=dataset,
                        value=value,
                        tolerance=row.get("tolerance", content["tolerance"]),
                        source=content["source"],
                        needs={**content.get("needs", {}).get(row["method"], {}), **row.get("needs", {})},
                    )
                    for dataset, value in row[MEASURE].items()
                ]
    return tuple(figures_found)


def dataset_of(name: str) -> str:
    """Return the name that the published figures use for a dataset; the given name where they have none."""
    return _aliases().get(name.lower(), name)


@lru_cache(maxsize=1)
def defaults() -> dict[str, dict[str, Any]]:
    """Return option values that a method uses where an option is not given: value by option by method."""
    return _read("settings.yaml")


@lru_cache(maxsize=1)
def _aliases() -> dict[str, str]:
    """Return the published figures' name of a dataset, by each of its other names."""
    return {alias: name for name, aliases in _read("datasets.yaml").items() for alias in aliases}


def _read(name: str) -> dict[str, Any]:
    """Read a YAML file of the folder of published figures."""
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return content
