"""Effectiveness by ir_measures, over every judged query.

A judged query without a ranking counts 0: averaging only over the queries a run happens to contain turns
NFCorpus BM25's nDCG@10 of .3218 into .3375. Judged@k counts 0 there too.

`evaluate` is ir_measures itself; an `Evaluator` gives the same values for many systems faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.graded import JudgedQueries, is_plain
from rerankers.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DEFAULT_MEASURES = ("nDCG@10", "RR@10", "AP", "Judged@10")


def parse(name: str) -> Any:
    """The ir_measures object that a name such as `nDCG@10` stands for.

    Raises:
        InputError: no such measure, or it needs a provider that is not installed.
    """
    import ir_measures

    try:
        measure = ir_measures.parse_measure(name)
    except NameError:
        family = name.partition("@")[0].partition("(")[0]
        raise UnknownNameError("measure", family, ir_measures.measures.registry) from None
    except (ValueError, TypeError, SyntaxError) as error:
        raise InputError(
            f"cannot read the measure {name!r}: {error}; write it as ir_measures prints it"
        ) from error
    try:
        ir_measures.evaluator([measure], {"q": {"d": 1}})
    except ValueError as error:
        hint = " ".join(str(error).split())
        raise InputError(f"the measure {name!r} cannot be computed here: {hint}") from error
    return measure


def evaluate(
    rankings: Mapping[str, Iterable[tuple[str, float]]],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Each measure for each judged query.

    Args:
        rankings: (doc id, score) by query id; queries that nobody judged are ignored.
        qrels: grade by doc id by query id; its queries are the queries averaged over.
        measures: names as ir_measures prints them.

    Returns:
        value by query id, in the order of `qrels`, by measure name as given; 0.0 where there is no ranking.

    Raises:
        InputError: a measure is unknown.
    """
    import ir_measures

    parsed = {name: parse(name) for name in measures}
    values = {name: dict.fromkeys(qrels, 0.0) for name in measures}
    run = {query_id: dict(ranking) for query_id, ranking in rankings.items() if query_id in qrels}
    run = {query_id: ranking for query_id, ranking in run.items() if ranking}
    if not run or not measures:
        return values
    judged = {query_id: dict(grades) for query_id, grades in qrels.items()}
    names = {measure: [n for n, m in parsed.items() if m == measure] for measure in parsed.values()}
    for metric in ir_measures.evaluator(list(names), judged).iter_calc(run):
        for name in names[metric.measure]:
            values[name][metric.query_id] = float(metric.value)
    return values


class Evaluator:
    """Measures for many systems on the same judged queries.

    Gives the values of `evaluate`, and is made for rankings whose order is known: best first, no ties.

    Args:
        qrels: grade by doc id by query id; its queries are the queries averaged over.
        measures: names as ir_measures prints them.

    Attributes:
        reach: ranks that matter to the measures, from the first; None for all.

    Raises:
        InputError: a measure is unknown.
    """

    def __init__(self, qrels: Mapping[str, Mapping[str, int]], measures: Sequence[str]) -> None:
        self._qrels = qrels
        self._measures = measures
        self._plain = {name: measure for name in measures if is_plain(measure := parse(name))}
        self._judged = JudgedQueries(qrels)
        cutoffs: list[int] = [one.params["cutoff"] for one in self._plain.values() if "cutoff" in one.params]
        self.reach = max(cutoffs, default=0) if len(cutoffs) == len(measures) else None

    def evaluate(self, rankings: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
        """Each measure for each judged query, from doc ids by query id, best first.

        Returns:
            value by query id, in the order of the judgements, by measure name as given; 0.0 where there is
            no ranking.
        """
        grades = self._judged.grades(rankings)
        values = {
            name: dict(zip(self._qrels, self._judged.values(measure, *grades).tolist(), strict=True))
            for name, measure in self._plain.items()
        }
        others = [name for name in self._measures if name not in self._plain]
        if others:
            scored = {
                query_id: [(doc_id, float(-rank)) for rank, doc_id in enumerate(doc_ids)]
                for query_id, doc_ids in rankings.items()
            }
            values |= evaluate(scored, self._qrels, others)
        return {name: values[name] for name in self._measures}
