"""The layouts `published` and `reproduction`: published figures beside the measured ones.

A figure (`reports.analysis.published_figures`) counts as reproduced when a system with the same model, on the
same dataset behind the same first stage at the same depth, comes within its tolerance. Only a system in the
figure's own setting is judged: the same prompt template, window and stride, and prompts no longer than its
context. For the others the table states what differs. Published figures are never marked as best.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reports.analysis.published_figures import MEASURE, dataset_of, defaults, figures
from reports.formats.numbers import count, fixed, signed
from reports.tables.cells import Cell, Head, Row, Table, lettered
from reports.tables.grouped import about
from rerankers.registry import role_of

if TYPE_CHECKING:
    from reports.analysis.published_figures import Figure
    from reports.analysis.values import Context, Group, SystemResult


def tables(context: Context) -> list[Table]:
    """Build one table per group with all published figures of its dataset."""
    return [table for group in context.groups for table in _tables(group, "published")]


def reproductions(context: Context) -> list[Table]:
    """Build one table per group with the published figures that a system of the group should reproduce."""
    return [table for group in context.groups for table in _tables(group, "reproduction")]


def _tables(group: Group, layout: str) -> list[Table]:
    """Return a group's table as a list; empty if it has no figures.

    `reproduction` leaves out unmatched figures.
    """
    dataset = dataset_of(group.dataset)
    rows: list[tuple[Figure, SystemResult | None]] = []
    unmatched: list[tuple[Figure, SystemResult | None]] = []
    for figure in figures():
        if figure.dataset == dataset:
            systems = _reproductions(figure, group)
            rows += [(figure, system) for system in systems]
            unmatched += [] if systems else [(figure, None)]
    if layout != "reproduction":
        rows += unmatched
    return [_table(group, rows, layout)] if rows else []


def _reproductions(figure: Figure, group: Group) -> list[SystemResult]:
    """Return the group's systems that should reproduce a figure: same model, first stage and depth.

    A model that was measured in several settings gives several systems.
    """
    same_place = figure.depth in (group.depth, None) and _plain(figure.first_stage) == _first_stage(group)
    if not same_place or MEASURE not in group.measures:
        return []
    names = {_plain(name) for name in (figure.model, *figure.names)}
    measured = [system for system in group.systems if MEASURE in system.quality.estimates]
    if role_of(figure.method) == "first stage":  # it has the figure's name already
        return [system for system in measured if system.role == "first_stage"]
    return [
        system
        for system in measured
        if system.reranker in (figure.method, "imported") and names & _names(system)
    ]


def different_setting(figure: Figure, system: SystemResult) -> list[str]:
    """Return descriptions of the settings in which a system differs from a published figure of its model."""
    if figure.needs and system.reranker == "imported":
        return ["an imported run does not tell its own"]
    differences = []
    for name, needed in figure.needs.items():
        if name == "context":
            longest = system.work.longest_prompt
            if longest is None:
                differences.append("length of the prompts not recorded")
            elif longest > needed:
                differences.append(f"prompts of {longest:,.0f} tokens, not at most {needed:,}")
            continue
        value = system.provenance.options.get(name, defaults().get(system.reranker, {}).get(name))
        if value is None:
            differences.append(f"{name} not recorded")
        elif value != needed:
            differences.append(f"{name} {value}, not {needed}")
    return differences


def _first_stage(group: Group) -> str:
    """Return a group's first stage as published figures name it; BM25 with usual parameters is `bm25`."""
    described = group.pool.first_stage
    if described.get("kind") == "bm25":
        is_usual = (described.get("k1", 0.9), described.get("b", 0.4)) == (0.9, 0.4)
        return "bm25" if is_usual else _plain(group.first_stage)
    return _plain(str(described.get("name") or described.get("model") or described.get("kind")))


def _names(system: SystemResult) -> set[str]:
    """Return the possible names of a system's model, in lower case without owner and first stage."""
    values: list[Any] = [
        system.name,
        system.provenance.options.get("model"),
        system.provenance.described.get("model"),
    ]
    return {_plain(re.sub(r"^bm25[-_ ]", "", str(name).lower())) for name in values if name}


def _plain(name: str) -> str:
    """Return the last part of a hub id or path, in lower case."""
    return name.rpartition("/")[2].lower()


def _table(group: Group, rows: list[tuple[Figure, SystemResult | None]], layout: str) -> Table:
    """Build a group's table from figures and the systems that should reproduce them."""
    letters = lettered([figure.source for figure, _ in rows])
    titles = {
        "method": ("method", "the method, by its registered name"),
        "first_stage": ("first stage", "what proposed the candidates"),
        "depth": ("depth", "candidates reranked"),
        "published": ("published", f"{MEASURE} as published"),
        "our_system": ("our system", "what was measured here under the same model"),
        "ours": ("ours", f"{MEASURE} as measured here"),
        "difference": ("difference", "ours minus published"),
        "tolerance": ("tolerance", "how far a reproduction may lie from the published figure"),
        "inside": ("inside", "whether the difference is inside the tolerance, or which setting differs"),
    }
    return Table(
        name=f"{layout}-{group.key}",
        caption=f"Published {MEASURE} on {group.dataset}, and what was measured here with the same models.",
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
            for figure, system in rows
        ),
        footnotes=tuple((letter, source) for source, letter in letters.items()),
        group=group.key,
    )


def _cells(figure: Figure, system: SystemResult | None) -> tuple[Cell, ...]:
    """Return the cells of a figure and, if there is one, of the system: value, difference and verdict."""
    label = (
        Cell(text=figure.method),
        Cell(text=figure.first_stage),
        Cell(figure.depth, count(figure.depth)) if figure.depth else Cell(),
        Cell(figure.value, fixed(figure.value, 4)),
    )
    if system is None:
        return (*label, Cell(), Cell(), Cell(), Cell(), Cell())
    ours = system.quality.estimates[MEASURE].value
    differences = different_setting(figure, system)
    if differences:
        verdict = Cell(text=f"different setting: {'; '.join(differences)}")
        return (*label, Cell(text=system.label), Cell(ours, fixed(ours, 4)), Cell(), Cell(), verdict)
    difference = ours - figure.value
    is_inside = round(abs(difference), 4) <= figure.tolerance  # published figures have four digits
    return (
        *label,
        Cell(text=system.label),
        Cell(ours, fixed(ours, 4)),
        Cell(difference, signed(difference, 4)),
        Cell(figure.tolerance, str(figure.tolerance)),
        Cell(text="yes" if is_inside else "no", change="" if is_inside else "worse"),
    )
