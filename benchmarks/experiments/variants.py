"""Expands an entry of `rerankers` into systems: sweeps, one factor at a time, and seeds.

Lists of options are crossed. Levels under `vary` are not: each makes one system that differs from the base in
this option alone. Seeds make replicates of every other system; a system whose rankings do not depend on a
seed is measured once.
"""

from __future__ import annotations

import json
import re
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from rerankers.errors import InputError
from rerankers.options import validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rerankers.options import MethodOptions

SEED = "seed"


class _Point(NamedTuple):
    """The options of one system, and the names of the options that its label shows."""

    options: dict[str, Any]
    labelled: tuple[str, ...]


def is_sweep(name: str, value: Any, model: type[MethodOptions]) -> bool:
    """Return whether an option's value is a list of values to sweep, not a single value that is a list."""
    return isinstance(value, list) and not (name in model.model_fields and model.takes_list(name))


def systems(
    name: str,
    label: str | None,
    options: Mapping[str, Any],
    vary: Mapping[str, Sequence[Any]],
    model: type[MethodOptions],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (label, options) of each system, the base first.

    Args:
        name: the reranker's name.
        label: template of its name in tables, with `{option}` in place of values; None for `name`.
        options: values by option; a list is a sweep, unless the option itself is a list.
        vary: levels by option.
        model: the reranker's options model.
    """
    swept = {key: value for key, value in options.items() if is_sweep(key, value, model)}
    seeds = list(dict.fromkeys([*swept.pop(SEED, ()), *_varied_seeds(options, vary, model)]))
    fixed = {key: value for key, value in options.items() if key not in swept and not (seeds and key == SEED)}
    points = [
        _Point({**fixed, **dict(zip(swept, values, strict=True))}, tuple(swept))
        for values in product(*swept.values())
    ]
    for point in [*points, *(variant for base in points for variant in _one_at_a_time(base, vary, model))]:
        for of_seed in _replicates(name, point, seeds, model):
            in_order = {key: of_seed.options[key] for key in (*options, *vary) if key in of_seed.options}
            yield _label(label or name, _Point(in_order, of_seed.labelled), model), in_order


def _varied_seeds(
    options: Mapping[str, Any], vary: Mapping[str, Sequence[Any]], model: type[MethodOptions]
) -> list[Any]:
    """Return the seeds under `vary`, preceded by the base's seed."""
    if SEED not in vary:
        return []
    stated = options.get(SEED, model.default_of(SEED))
    return [*([] if isinstance(stated, list) else [stated]), *vary[SEED]]


def _one_at_a_time(
    base: _Point, vary: Mapping[str, Sequence[Any]], model: type[MethodOptions]
) -> Iterator[_Point]:
    """Yield a system for each level of `vary`, except seeds, that differs from the base's value."""
    for option, levels in vary.items():
        if option == SEED:
            continue
        seen = {_text(base.options.get(option, model.default_of(option)))}
        for level in levels:
            if _text(level) not in seen:
                seen.add(_text(level))
                yield _Point({**base.options, option: level}, (*base.labelled, option))


def _replicates(
    name: str, point: _Point, seeds: Sequence[Any], model: type[MethodOptions]
) -> Iterator[_Point]:
    """Yield the system once for each seed, or once if no seed changes its rankings."""
    if not seeds or not _draws(name, point.options, model):
        yield point
        return
    labelled = point.labelled if len(seeds) == 1 else (*point.labelled, SEED)
    for seed in seeds:
        yield _Point({**point.options, SEED: seed}, labelled)


def _draws(name: str, options: Mapping[str, Any], model: type[MethodOptions]) -> bool:
    """Return whether a seed changes the rankings.

    True if the options are invalid, which is reported elsewhere.
    """
    try:
        return validate(model, name, options).draws
    except InputError:
        return True


def _label(template: str, point: _Point, model: type[MethodOptions]) -> str:
    """Fill in a label template, and append the options that distinguish the system and are not in it."""

    def value(match: re.Match[str]) -> str:
        return str(point.options.get(match[1], model.default_of(match[1])))

    label = re.sub(r"\{(\w+)\}", value, template)
    labelled = [key for key in point.options if key in point.labelled and f"{{{key}}}" not in template]
    return f"{label} ({', '.join(f'{key}={point.options[key]}' for key in labelled)})" if labelled else label


def _text(value: Any) -> str:
    """Return a value as JSON, for comparison."""
    return json.dumps(value, sort_keys=True, default=str)
