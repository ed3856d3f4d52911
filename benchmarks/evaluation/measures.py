"""Effectiveness measures over every judged query, computed by ir_measures.

A judged query without a ranking counts 0: averaging only over the queries a run happens to contain turns
NFCorpus BM25's nDCG@10 of .3218 into .3375. Judged@k counts 0 there too.

`evaluate` calls ir_measures, and the functions that `.functions` finds for measures of one's own. An
`Evaluator` gives the same values faster for many systems.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.evaluation.functions.registry import MEASURES, FunctionMeasure, find
from benchmarks.evaluation.graded import JudgedQueries, is_plain
from benchmarks.evaluation.measure_limits import check_gdeval, check_parameters
from benchmarks.evaluation.measure_names import PRESETS, spelled
from rerankers.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Qrels = Mapping[str, Mapping[str, int]]

DEFAULT_MEASURES = ("nDCG@10", "RR@10", "AP", "Judged@10")

_TRIAL: Qrels = {"1": {"1": 1, "2": 0}}


def expand(name: str) -> list[str]:
    """Return the measures that a preset or a measure's name stands for, as ir_measures prints them.

    Raises:
        InputError: no such measure or preset, or it cannot be computed.
    """
    if name in PRESETS:
        return [*PRESETS[name]]
    measure = parse(name)
    return [str(measure) if find(name) is None else name.strip()]


def parse(name: str) -> Any:
    """Return the measure that a name such as `nDCG@10` or `module:function` stands for.

    The measure is computed once on two made-up passages, to see that it works. Names match in any case, and
    trec_eval's names (`ndcg_cut_10`, `map`, `recip_rank`, `recall_100`) are accepted.

    Returns:
        an object of ir_measures, or a `FunctionMeasure`.

    Raises:
        InputError: no such measure, a parameter is missing or wrong, or it needs a provider that is not
            installed.
    """
    measure = find(name)
    if measure is None:
        return _parse(name)
    _try(name, measure, _TRIAL)
    return measure


@lru_cache(maxsize=1024)
def _parse(name: str) -> Any:
    """Parse a measure's name with ir_measures, check its parameters, and compute it once on two passages.

    Raises:
        InputError: as `parse`.
    """
    import ir_measures

    written = spelled(name.strip())
    family = written.partition("@")[0].partition("(")[0]
    registry = ir_measures.measures.registry
    if family and family not in registry:
        raise UnknownNameError("measure", family, [*registry, *MEASURES, *PRESETS])
    try:
        measure = ir_measures.parse_measure(written)
    except (
        ArithmeticError,
        LookupError,
        NameError,
        RecursionError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        raise InputError(f"cannot read the measure {name!r}: write it like nDCG@10 or AP(rel=2)") from error
    check_parameters(name, measure)
    _try(name, measure, _TRIAL)
    return measure


def try_measures(names: Iterable[str], qrels: Qrels) -> None:
    """Compute measures on a dataset's own ids and judgements, and discard the values.

    A measure that cannot be computed thus fails before anything is ranked.

    Args:
        names: names of measures.
        qrels: grade by doc id by query id; nothing is tried where it is empty.

    Raises:
        InputError: a measure cannot be computed, or its value is not a finite number.
    """
    for name in names:
        measure = parse(name)
        if not is_plain(measure) and qrels:
            _try(name, measure, qrels)


def computable() -> Iterator[tuple[str, Any]]:
    """Yield (name, class) of each family of ir_measures measures that this installation can compute.

    The name is an example that `parse` accepts, such as `nDCG@10`.
    """
    import ir_measures

    families = {type(measure) for measure in ir_measures.measures.registry.values()}
    for kind in sorted(families, key=lambda kind: str(kind.NAME).lower()):
        needed = {name for name, info in kind.SUPPORTED_PARAMS.items() if info.required}
        usual = {"cutoff": "@10", "recall": "@0.1"}.get(kind.AT_PARAM, "") if kind.AT_PARAM in needed else ""
        for name in (f"{kind.NAME}{usual}", f"{kind.NAME}@10", f"{kind.NAME}(max_rel=3){usual}"):
            try:
                parse(name)
            except InputError:
                continue
            yield name, kind
            break


def _try(name: str, measure: Any, qrels: Qrels) -> None:
    """Compute one measure on a made-up ranking of each query's judged passages, and discard the values.

    Raises:
        InputError: it cannot be computed, or a value is not finite.
    """
    run = {
        query_id: [(doc_id, float(-rank)) for rank, doc_id in enumerate([*grades][:10])]
        for query_id, grades in qrels.items()
    }
    for value in (value for by in _computed({name: measure}, run, qrels).values() for value in by.values()):
        if not math.isfinite(value):
            raise InputError(f"the measure {name!r} gives {value} on these judgements")


def _computed(
    measures: Mapping[str, Any], run: Mapping[str, Iterable[tuple[str, float]]], qrels: Qrels
) -> dict[str, dict[str, float]]:
    """Compute measures of a run: value by query id by measure name; 0.0 for a query without a ranking.

    Args:
        measures: measure by name, of ir_measures or a `FunctionMeasure`.
        run: (doc id, score) pairs by query id.
        qrels: grade by doc id by query id.
    """
    others = {name: one for name, one in measures.items() if not isinstance(one, FunctionMeasure)}
    values = {
        name: one.values(run, qrels) for name, one in measures.items() if isinstance(one, FunctionMeasure)
    }
    return values | (_by_ir_measures(others, run, qrels) if others else {})


def _by_ir_measures(
    measures: Mapping[str, Any], run: Mapping[str, Iterable[tuple[str, float]]], qrels: Qrels
) -> dict[str, dict[str, float]]:
    """Compute measures of a run by ir_measures: value by query id by measure name, 0.0 without a ranking.

    Args:
        measures: ir_measures measure by name.
        run: (doc id, score) pairs by query id.
        qrels: grade by doc id by query id.

    Raises:
        InputError: the package that computes a measure fails.
    """
    import ir_measures

    check_gdeval(measures, qrels)
    values = {name: dict.fromkeys(qrels, 0.0) for name in measures}
    names = {measure: [n for n, m in measures.items() if m == measure] for measure in measures.values()}
    judged = {query_id: dict(grades) for query_id, grades in qrels.items()}
    try:
        evaluator = ir_measures.evaluator(list(names), judged)
        for metric in evaluator.iter_calc({query_id: dict(ranking) for query_id, ranking in run.items()}):
            if metric.query_id not in qrels:
                raise ValueError(f"it names a query {metric.query_id!r} that is not judged")
            for name in names[metric.measure]:
                values[name][metric.query_id] = float(metric.value)
    except Exception as error:  # of any provider
        named = ", ".join(map(repr, measures))
        raise InputError(f"{named} cannot be computed here: {' '.join(str(error).split())}") from error
    return values


def evaluate(
    rankings: Mapping[str, Iterable[tuple[str, float]]],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Compute measures of one system's rankings for each judged query.

    Args:
        rankings: (doc id, score) by query id; queries without judgements are ignored.
        qrels: grade by doc id by query id; its queries are the queries averaged over.
        measures: names as ir_measures prints them.

    Returns:
        value by query id, in the order of `qrels`, by measure name as given; 0.0 where there is no ranking.

    Raises:
        InputError: a measure is unknown, or cannot be computed on these judgements.
    """
    parsed = {name: parse(name) for name in measures}
    run = {query_id: [*ranking] for query_id, ranking in rankings.items() if query_id in qrels}
    run = {query_id: ranking for query_id, ranking in run.items() if ranking}
    if not run or not measures:
        return {name: dict.fromkeys(qrels, 0.0) for name in measures}
    return _computed(parsed, run, qrels)


class Evaluator:
    """A calculator of the same measures for many systems on the same judged queries.

    It gives the values of `evaluate`, for rankings whose order is known: best first, no ties.

    Args:
        qrels: grade by doc id by query id; its queries are the queries averaged over.
        measures: names as ir_measures prints them.

    Attributes:
        reach: number of first ranks that the measures depend on; None for all ranks.

    Raises:
        InputError: a measure is unknown.
    """

    def __init__(self, qrels: Mapping[str, Mapping[str, int]], measures: Sequence[str]) -> None:
        self._qrels = qrels
        self._measures = measures
        self._plain = {name: measure for name in measures if is_plain(measure := parse(name))}
        self._judged = JudgedQueries(qrels)
        cutoffs: list[int] = [
            plain.params["cutoff"] for plain in self._plain.values() if "cutoff" in plain.params
        ]
        self.reach = max(cutoffs, default=0) if len(cutoffs) == len(measures) else None

    def evaluate(self, rankings: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
        """Compute each measure for each judged query, from doc ids by query id, best first.

        Returns:
            value by query id, in the order of the judgements, by measure name as given; 0.0 where there is
            no ranking.
        """
        return {
            name: dict(zip(self._qrels, values.tolist(), strict=True))
            for name, values in self.arrays(rankings).items()
        }

    def arrays(self, rankings: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.float64]]:
        """Compute each measure from doc ids by query id, best first, as one array over judged queries.

        Returns:
            (n_queries,), in the order of the judgements, by measure name; 0.0 where there is no ranking.
        """
        grades = self._judged.grades(rankings)
        values = {name: self._judged.values(measure, *grades) for name, measure in self._plain.items()}
        others = [name for name in self._measures if name not in self._plain]
        if others:
            scored = {
                query_id: [(doc_id, float(-rank)) for rank, doc_id in enumerate(doc_ids)]
                for query_id, doc_ids in rankings.items()
            }
            other_values = evaluate(scored, self._qrels, others)
            values |= {
                name: np.array([*by_query.values()], dtype=np.float64)
                for name, by_query in other_values.items()
            }
        return {name: values[name] for name in self._measures}
