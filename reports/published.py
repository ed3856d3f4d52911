"""Published figures beside measured ones: in tables of their own, never marked, compared where they can be.

The figures are data, `reports/published/*.yaml`, with their sources. One counts as reproduced when a system
with the same model, on the same dataset behind the same first stage at the same depth, comes within the
figure's tolerance.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from reports.cells import Cell, Head, Row, Table, lettered
from reports.grouped import about
from reports.numbers import count, fixed, signed

if TYPE_CHECKING:
    from reports.values import Group, SystemResult

MEASURE = "nDCG@10"

FOLDER = Path(__file__).parent / "published"


class Figure(NamedTuple):
    """One published nDCG@10.

    Attributes:
        method: the name that the method is registered under.
        names: what the model is called elsewhere, beside `model`.
        depth: candidates reranked; None for a first stage on its own.
        tolerance: how far a reproduction may lie from it.
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


@lru_cache(maxsize=1)
def figures() -> tuple[Figure, ...]:
    """Every figure of the folder, file by file."""
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name != "datasets.yaml":
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            for row in content["rows"]:
                found += [
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
                    )
                    for dataset, value in row[MEASURE].items()
                ]
    return tuple(found)


def tables(group: Group, layout: str = "published") -> list[Table]:
    """The figures on a group's dataset; in `reproduction` those that a system of the group should give."""
    dataset = _dataset(group.dataset)
    known: list[tuple[Figure, SystemResult | None]] = []
    alone: list[tuple[Figure, SystemResult | None]] = []
    for figure in figures():
        if figure.dataset == dataset:
            systems = _reproductions(figure, group)
            known += [(figure, system) for system in systems]
            alone += [] if systems else [(figure, None)]
    if layout != "reproduction":
        known += alone
    return [_table(group, known, layout)] if known else []


@lru_cache(maxsize=1)
def _aliases() -> dict[str, str]:
    content = yaml.safe_load((FOLDER / "datasets.yaml").read_text(encoding="utf-8"))
    return {alias: name for name, aliases in content.items() for alias in aliases}


def _dataset(name: str) -> str:
    return _aliases().get(name.lower(), name)


def _reproductions(figure: Figure, group: Group) -> list[SystemResult]:
    """The group's systems that should give the figure; of one model under several settings, all of them."""
    same_place = figure.depth in (group.depth, None) and _plain(figure.first_stage) == _first_stage(group)
    if not same_place or MEASURE not in group.measures:
        return []
    names = {_plain(name) for name in (figure.model, *figure.names)}
    measured = [system for system in group.systems if MEASURE in system.quality]
    if figure.method == "first-stage":  # it has the figure's name already
        return [system for system in measured if system.role == "first_stage"]
    return [
        system
        for system in measured
        if system.reranker in (figure.method, "imported") and names & _names(system)
    ]


def _first_stage(group: Group) -> str:
    """What a first stage is, BM25 with the usual parameters or a run of it being the same."""
    described = group.pool.first_stage
    if described.get("kind") == "bm25":
        usual = (described.get("k1", 0.9), described.get("b", 0.4)) == (0.9, 0.4)
        return "bm25" if usual else _plain(group.first_stage)
    return _plain(str(described.get("name") or described.get("model") or described.get("kind")))


def _names(system: SystemResult) -> set[str]:
    """What a system's model may be called: without an owner, and without the first stage it reranked."""
    given: list[Any] = [system.name, system.options.get("model"), system.described.get("model")]
    return {_plain(re.sub(r"^bm25[-_ ]", "", str(name).lower())) for name in given if name}


def _plain(name: str) -> str:
    return name.rpartition("/")[2].lower()


def _table(group: Group, known: list[tuple[Figure, SystemResult | None]], layout: str) -> Table:
    letters = lettered([figure.source for figure, _ in known])
    titles = {
        "method": ("method", "the method, by its registered name"),
        "first_stage": ("first stage", "what proposed the candidates"),
        "depth": ("depth", "candidates reranked"),
        "published": ("published", f"{MEASURE} as published"),
        "our_system": ("our system", "what was measured here under the same model"),
        "ours": ("ours", f"{MEASURE} as measured here"),
        "difference": ("difference", "ours minus published"),
        "tolerance": ("tolerance", "how far a reproduction may lie from the published figure"),
        "inside": ("inside", "whether the difference is inside the tolerance"),
    }
    return Table(
        name=f"{layout}-{group.key}",
        caption=f"Published {MEASURE} on {group.dataset}, and what was measured here in the same setting.",
        about=about(group),
        columns=tuple(Head(name, title, "", meaning) for name, (title, meaning) in titles.items()),
        rows=tuple(
            Row(
                label=figure.model,
                role="published",
                reranker=figure.method,
                status="published",
                notes=(letters[figure.source],),
                cells=_cells(figure, system),
            )
            for figure, system in known
        ),
        footnotes=tuple((letter, source) for source, letter in letters.items()),
        legend=(),
        warnings=(),
    )


def _cells(figure: Figure, system: SystemResult | None) -> tuple[Cell, ...]:
    known = (
        Cell(text=figure.method),
        Cell(text=figure.first_stage),
        Cell(figure.depth, count(figure.depth)) if figure.depth else Cell(),
        Cell(figure.value, fixed(figure.value, 4)),
    )
    if system is None:
        return (*known, Cell(), Cell(), Cell(), Cell(), Cell())
    ours = system.quality[MEASURE].value
    difference = ours - figure.value
    is_inside = round(abs(difference), 4) <= figure.tolerance  # published figures have four digits
    return (
        *known,
        Cell(text=system.label),
        Cell(ours, fixed(ours, 4)),
        Cell(difference, signed(difference, 4)),
        Cell(figure.tolerance, str(figure.tolerance)),
        Cell(text="yes" if is_inside else "no", change="" if is_inside else "worse"),
    )
