"""What a group's systems are worth where a model graded the passages that the dataset does not judge.

The model's grades never change the group's own values: they stand beside them, with the agreement on passages
that both judged.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.evaluation.agreement import Agreement, agreement
from benchmarks.results.judgements import grades_of, judges
from reports.analysis import quality
from reports.analysis.systems import mean_values
from rerankers.text.printable import printable, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.candidates.frozen import Pool
    from benchmarks.results.judgements import JudgedSet
    from reports.analysis.systems import Keyed
    from reports.analysis.values import Comparison, Estimate, SystemResult

LONGEST = 60
"""Characters of a judge's name."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A model's grades for one group, and the values that come with them.

    Attributes:
        label: of the model.
        prompt: name and source of the prompt template.
        filled: passages that only the model judged.
        faults: model outputs without a grade.
        depth: ranks of each system whose passages were judged.
        queries: number that the values are averaged over.
        scale: the grade that stands for each of the template's grades.
        agreement: with the dataset's judgements; None where no passage has both.
        estimates: by label and measure, with the model's grades where the dataset has none.
        against: by label and measure, the comparison with the group's baseline.
    """

    label: str
    prompt: str
    filled: int
    faults: int
    depth: int
    queries: int
    scale: tuple[int, ...]
    agreement: Agreement | None
    estimates: Mapping[str, Mapping[str, Estimate]]
    against: Mapping[str, Mapping[str, Comparison]]


def judged_by_models(
    labelled: Mapping[str, Sequence[Keyed]], pool: Pool, measures: Sequence[str], baseline: str | None
) -> tuple[Judge, ...]:
    """Return the models that judged passages of a group, with the systems' values by each.

    Args:
        labelled: cells by label.
        pool: the group's candidate set.
        measures: of the group.
        baseline: label that differences refer to; None where nothing can be compared.
    """
    folders = {keyed[0].folder: None for family in labelled.values() for keyed in family}
    found: dict[str, Judge] = {}
    for folder in folders:
        for name, about in judges(folder).items():
            grades = grades_of(folder, name, about, pool.digest)
            if grades and name not in found:
                label = shortened(printable(about.model), LONGEST)
                found[name] = _judge(label, about.prompt, about.sets[pool.digest], grades, labelled, pool)
                found[name] = _with_values(found[name], grades, labelled, pool, measures, baseline)
    return tuple(found.values())


def _judge(
    label: str,
    prompt: str,
    judged: JudgedSet,
    grades: Mapping[str, Mapping[str, int]],
    labelled: Mapping[str, Sequence[Keyed]],
    pool: Pool,
) -> Judge:
    both = [
        (pool.qrels[query_id][doc_id], grade)
        for query_id, listed in grades.items()
        for doc_id, grade in listed.items()
        if doc_id in pool.qrels.get(query_id, {})
    ]
    highest = max(judged.scale)
    return Judge(
        label=label,
        prompt=printable(prompt),
        filled=judged.filled,
        faults=sum(judged.faults.values()),
        depth=judged.depth,
        queries=0,
        scale=judged.scale,
        agreement=agreement(both, 1 if highest == 1 else 2),
        estimates={},
        against={},
    )


def _with_values(
    judge: Judge,
    grades: Mapping[str, Mapping[str, int]],
    labelled: Mapping[str, Sequence[Keyed]],
    pool: Pool,
    measures: Sequence[str],
    baseline: str | None,
) -> Judge:
    """Return the judge with the values of all finished systems, by both judgements together."""
    judged = pool.qrels or {query_id: {} for query_id in pool.queries}
    qrels = {query_id: {**grades.get(query_id, {}), **own} for query_id, own in judged.items()}
    rankings = quality.Rankings(dataclasses.replace(pool, qrels=qrels), measures)
    values = {}
    for label, family in labelled.items():
        cells = [cell for _, cell in family if cell.record.status == "done"]
        if cells:
            values[label] = mean_values([rankings.read(rankings.parse(cell.rankings))[0] for cell in cells])
    return dataclasses.replace(
        judge,
        queries=len(qrels),
        estimates={label: quality.estimates(by_measure) for label, by_measure in values.items()},
        against=quality.compare(values, baseline) if baseline in values else {},
    )


def finding(judge: Judge, systems: Sequence[SystemResult], measure: str) -> tuple[str, ...]:
    """Return the sentence that says whether the model's grades change which system ranks best; () if none.

    Args:
        judge: the model.
        systems: of the group, best first.
        measure: the headline.
    """
    competing = [
        one
        for one in systems
        if one.role in ("reranker", "first_stage") and measure in judge.estimates.get(one.label, {})
    ]
    if not competing:
        return ()
    best = max(competing, key=lambda one: judge.estimates[one.label][measure].value)
    value = judge.estimates[best.label][measure].value
    before = next((one for one in competing if measure in one.quality.estimates), None)
    said = f"With {judge.filled} unjudged passages graded by {judge.label}, "
    if before is None or before is best:
        also = "" if before is None else " too"
        return (said, best.label, f" ranks best{also} ({measure} {value:.3f}).")
    return (said, best.label, f" ranks best ({measure} {value:.3f}), and no longer ", before.label, ".")
