"""Ablations: the effect of one setting that takes another value while everything else stays.

Settings are read from the records: a reranker's options, the first stage, the depth. An option that one
system states and another leaves out has its default there. A setting that takes two
values or more while all others agree is a *factor*; the value that comes first in the experiment is its
baseline level, which the other levels are compared with, query by query.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from reports.analysis import first_stages
from rerankers.errors import RerankbenchError
from rerankers.registry import METHODS, options_model

if TYPE_CHECKING:
    from reports.analysis.values import Context, Group, SystemResult

# Settings beside a reranker's options, which are Python names and so never have a space in them.
FIRST_STAGE, DEPTH = "first stage", "candidate depth"
IMPORTED = "imported"  # the method of another's run, whatever it is
DEFAULT = "default"
_DATASET, _RERANKER = "of dataset", "of reranker"  # no factors: tables compare methods


@dataclass(frozen=True, slots=True)
class Point:
    """A system at one level of a factor, with the group that it belongs to."""

    level: Any
    group: Group
    system: SystemResult


@dataclass(frozen=True, slots=True)
class Series:
    """Systems that differ in one setting alone: one point for each of its levels, the baseline level first.

    Attributes:
        setting: the setting's name.
        points: the systems.
    """

    setting: str
    points: tuple[Point, ...]
    column: str
    """The settings in which the series' candidate set differs from others, as a column's heading;
    "" where they agree.
    """

    @property
    def label(self) -> str:
        """The words with which all its systems' names begin, up to the setting; or else their method."""
        labels = [point.system.label.split() for point in self.points]
        shared = " ".join(first for first, *more in zip(*labels, strict=False) if {first} == {first, *more})
        before = re.sub(rf"\W{re.escape(words(self.setting))}\W*$", "", shared)
        first = self.points[0].system
        return before.rstrip(" ,;:-(=") or (first.name if first.reranker == IMPORTED else first.reranker)


@dataclass(frozen=True, slots=True)
class Factor:
    """One setting with all its series, in one measuring mode.

    Attributes:
        name: the option's name, `first stage` or `candidate depth`.
        mode: the measuring mode.
        series: the series, one for each choice of the other settings.
        shared: the dataset, first stage and depth that the candidate sets of all series share, in words.
    """

    name: str
    mode: str
    series: tuple[Series, ...]
    shared: str

    @property
    def is_numeric(self) -> bool:
        """True if all levels are numbers, so that there is a curve to draw."""
        levels = [point.level for series in self.series for point in series.points]
        return all(isinstance(level, int | float) and not isinstance(level, bool) for level in levels)


def factors(context: Context) -> list[Factor]:
    """Return every factor of a report's systems, by mode, options before first stage and depth."""
    factors_found = []
    for mode in dict.fromkeys(group.mode for group in context.groups):
        groups = [group for group in context.groups if group.mode == mode]
        short = first_stages.shortened(group.first_stage for group in groups)
        observed = [
            (_settings(group, system, short[group.first_stage]), Point(None, group, system))
            for group in groups
            for system in sorted(group.systems, key=lambda result: result.place)
            if system.role == "reranker" and group.headline in system.quality.estimates
        ]
        observed = _with_defaults(observed)
        names = dict.fromkeys(name for settings, _ in observed for name in settings)
        for name in sorted(names.keys() - {_DATASET, _RERANKER}, key=[*names].index):
            series, shared = _series(name, observed)
            if series:
                factors_found.append(Factor(name, mode, tuple(series), shared))
    return factors_found


def _settings(group: Group, system: SystemResult, first_stage: str) -> dict[str, Any]:
    """Return a system's settings by name: its options, first stage, depth, dataset and method."""
    pool = {FIRST_STAGE: first_stage, DEPTH: group.depth}
    is_import = system.reranker == IMPORTED  # which tells no more; two words, unlike any registered method
    method = f"{IMPORTED} {system.name}" if is_import else system.reranker
    return {**system.provenance.options, **pool, _DATASET: group.dataset, _RERANKER: method}


def _with_defaults(observed: list[tuple[dict[str, Any], Point]]) -> list[tuple[dict[str, Any], Point]]:
    """Fill in the default of every option that a system leaves out and another of the same method states.

    Args:
        observed: (settings by name, system) of each system.
    """
    stated: dict[str, dict[str, None]] = {}
    for settings, _ in observed:
        stated.setdefault(settings[_RERANKER], {}).update(dict.fromkeys(settings))
    resolved = []
    for settings, point in observed:
        lacking = [name for name in stated[settings[_RERANKER]] if name not in settings]
        recorded = point.system.provenance.described.get("defaults", {})
        defaults = {
            name: recorded[name] if name in recorded else _default(settings[_RERANKER], name)
            for name in lacking
        }
        resolved.append(({**settings, **defaults}, point))
    return resolved


@cache
def _default(reranker: str, option: str) -> Any:
    """Return the default of a method's option; the word `default` where the method cannot be looked up."""
    if reranker not in METHODS:  # a class of one's own is not imported; its defaults are in its record
        return DEFAULT
    try:
        model = options_model(reranker)
    except (RerankbenchError, ImportError):
        return DEFAULT
    return model.default_of(option) if option in model.model_fields else DEFAULT


def _names_methods(level: Any) -> bool:
    """Return whether a level is a list of methods, as of a fusion, and so not one method's setting."""
    return isinstance(level, list | tuple) and any(isinstance(item, dict) for item in level)


def level_text(level: Any) -> str:
    """Format a level for people, without brackets and quotation marks: True is `on`, None is `none`."""
    if isinstance(level, bool):
        return "on" if level else "off"
    if isinstance(level, list | tuple):
        return ", ".join(map(level_text, level)) or "none"
    if isinstance(level, dict):
        return ", ".join(f"{name} {level_text(value)}" for name, value in level.items()) or "none"
    return "none" if level is None else str(level)


def _series(name: str, observed: list[tuple[dict[str, Any], Point]]) -> tuple[list[Series], str]:
    """Group systems into the series of one factor.

    Args:
        name: the factor; a system whose method does not know the setting is at `default`.
        observed: (settings by name, system) of each system.

    Returns:
        the series with two levels or more; and the words about the candidate set that all of them share.
    """
    fixed_settings: dict[str, dict[str, Point]] = {}
    pools: dict[str, list[str]] = {}
    for settings, point in observed:
        others = {key: value for key, value in settings.items() if key != name}
        level = settings.get(name, DEFAULT)
        if _names_methods(level):
            continue
        key = json.dumps(others, sort_keys=True, default=str)
        levels = fixed_settings.setdefault(key, {})
        levels.setdefault(json.dumps(level, default=str), Point(level, point.group, point.system))
        parts = {_DATASET: "{}", FIRST_STAGE: "{}", DEPTH: "top {}"}
        pools[key] = [words.format(settings[part]) for part, words in parts.items() if part != name]
    several = {key: levels for key, levels in fixed_settings.items() if len(levels) > 1}
    alike = [len(set(values)) == 1 for values in zip(*(pools[key] for key in several), strict=True)]
    series = [
        Series(name, tuple(levels.values()), ", ".join(_chosen(pools[key], alike, False)))
        for key, levels in several.items()
    ]
    shared = ", ".join(part for key in [*several][:1] for part in _chosen(pools[key], alike, True))
    return series, shared


def _chosen(parts: list[str], alike: list[bool], wanted: bool) -> list[str]:
    """Return the parts whose `alike` flag equals `wanted`."""
    return [part for part, is_alike in zip(parts, alike, strict=True) if is_alike == wanted]


def words(name: str) -> str:
    """Return a setting's name with spaces in place of underscores."""
    return name.replace("_", " ")
