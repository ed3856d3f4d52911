"""The values of a group's systems by other judgements than those of its candidate set.

A model's grades fill the holes in the candidate set's judgements. Files that the experiment names stand
alone. Neither changes the group's own values: they stand beside them, with the agreement on passages that
both judged.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from benchmarks.evaluation.agreement import agreement
from benchmarks.results.judgements import grades_of, judges
from reports.analysis import quality
from reports.analysis.systems import mean_values
from reports.analysis.values import Judge
from rerankers.text.printable import printable, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.candidates.frozen import Pool
    from benchmarks.results.judgements import JudgedSet
    from reports.analysis.systems import Keyed
    from reports.analysis.values import SystemResult

LONGEST = 60
"""Characters of a judge's name."""


def further_judges(
    labelled: Mapping[str, Sequence[Keyed]], pool: Pool, measures: Sequence[str], baseline: str | None
) -> tuple[Judge, ...]:
    """Return the models and files that judge passages of a group, with the systems' values by each.

    Args:
        labelled: cells, each with its folder, by system label.
        pool: the group's candidate set.
        measures: the group's measures.
        baseline: label that differences refer to; None where nothing can be compared.
    """
    folders = {keyed[0].folder: None for family in labelled.values() for keyed in family}
    judge_by_key: dict[tuple[str, str], Judge] = {}
    for folder in folders:
        for name, about in judges(folder).items():
            grades = grades_of(folder, name, about, pool.digest)
            if not grades or (name, about.sets[pool.digest].digest) in judge_by_key:
                continue
            judged = about.sets[pool.digest]
            label = shortened(printable(about.model or name), LONGEST)
            if any(one.label == label for one in judge_by_key.values()):  # of two folders, with other grades
                label = f"{label} ({judged.digest[:8]})"
            judge = _judge(label, about.prompt, judged, grades, pool)
            judge_by_key[name, judged.digest] = _with_values(
                judge, grades, labelled, pool, measures, baseline
            )
    return tuple(judge_by_key.values())


def _judge(
    label: str, prompt: str, judged: JudgedSet, grades: Mapping[str, Mapping[str, int]], pool: Pool
) -> Judge:
    """Return a judge without the systems' values, with its agreement with the dataset's judgements.

    Args:
        label: name of the model or of the file.
        prompt: name and source of the prompt template.
        judged: description of what was judged.
        grades: the judge's grade by doc id by query id.
        pool: the group's candidate set.
    """
    both = [
        (pool.qrels[query_id][doc_id], grade)
        for query_id, listed in grades.items()
        for doc_id, grade in listed.items()
        if doc_id in pool.qrels.get(query_id, {})
    ]
    scale = judged.scale or tuple(sorted({grade for listed in grades.values() for grade in listed.values()}))
    highest = max([*scale, *(own for own, _ in both)])
    return Judge(
        label=label,
        file=judged.file,
        prompt=printable(prompt),
        graded=sum(map(len, grades.values())),
        filled=judged.filled,
        faults=sum(judged.faults.values()),
        depth=judged.depth,
        queries=0,
        scale=scale,
        agreement=agreement(both, 1 if highest <= 1 else 2),
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
    """Fill in all finished systems' values, by a file's judgements or by a model's and the dataset's.

    Args:
        judge: the judge.
        grades: its grade by doc id by query id.
        labelled: cells, each with its folder, by system label.
        pool: the group's candidate set.
        measures: the group's measures.
        baseline: label that differences refer to; None where nothing can be compared.
    """
    judged = pool.qrels or {query_id: {} for query_id in pool.queries}
    if judge.file is not None:
        qrels = {query_id: dict(grades[query_id]) for query_id in judged if query_id in grades}
    else:
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
    """Return the sentence on whether a judge's grades change which system ranks best; () without values.

    Args:
        judge: the model or the file.
        systems: the group's systems, best first.
        measure: the headline measure.
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
    condition = (
        f"By the judgements {judge.label}, "
        if judge.file
        else f"With {judge.filled} unjudged passages graded by {judge.label}, "
    )
    if before is None or before is best:
        also = "" if before is None else " too"
        return (condition, best.label, f" ranks best{also} ({measure} {value:.3f}).")
    return (condition, best.label, f" ranks best ({measure} {value:.3f}), and no longer ", before.label, ".")
