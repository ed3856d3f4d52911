"""The layouts `judgements` and `agreement`: measures by each set of judgements, and their agreement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reports.formats.numbers import count, fixed, percent
from reports.tables.cells import Cell, Head, Note, Row, Table
from reports.tables.grouped import about, change_of, tests_against
from rerankers.text.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.evaluation.agreement import Agreement
    from benchmarks.results.judgements import JudgementFile
    from reports.analysis.estimates import Comparison, Estimate
    from reports.analysis.values import Context, Group, Judge

OWN = "Judgements of the dataset"
JUDGED = "Judged@10"


def tables(context: Context) -> list[Table]:
    """Build one table per group that has further judgements: measures by each set of judgements."""
    return [_values(group) for group in context.groups if group.judges]


def agreements(context: Context) -> list[Table]:
    """Build one confusion matrix per group and model: its grades against those of the dataset."""
    return [
        _confusion(group, judge, judge.agreement, number)
        for group in context.groups
        for number, judge in enumerate(group.judges, 1)
        if judge.agreement
    ]


def _values(group: Group) -> Table:
    """Build a group's table, with a section of columns for each set of judgements."""
    measures = [group.headline, JUDGED]
    columns: list[tuple[Head, Mapping[str, Cell]]] = []
    if group.pool.qrels:
        estimates_by_label = {system.label: system.quality.estimates for system in group.systems}
        tested = {system.label: system.quality.against for system in group.systems}
        name = _own_name(group)
        section = f"Judgements {name}" if name else OWN
        columns += [
            (_head(measure, section, "own"), _cells(measure, estimates_by_label, tested))
            for measure in measures
        ]
    for number, judge in enumerate(group.judges, 1):
        section = f"Judgements {judge.label}" if judge.file else f"Holes filled by {judge.label}"
        source = f"by-{judge.label}" if judge.file else f"filled-{number}"
        columns += [
            (_head(measure, section, source), _cells(measure, judge.estimates, judge.against))
            for measure in measures
        ]
    systems = [system for system in group.systems if system.status == "done"]
    return Table(
        name=f"judgements-{group.key}",
        caption=f"{group.headline} {_beside(group)}, on {group.title} ({_count_of_queries(group)} queries).",
        about=about(group),
        columns=tuple(head for head, _ in columns),
        rows=tuple(
            Row.of(system, (cells.get(system.label, Cell()) for _, cells in columns)) for system in systems
        ),
        notes=(
            *([Note(tests_against([group.baseline]))] if group.baseline else []),
            *(Note(_about_judge(judge, group)) for judge in group.judges),
        ),
        warnings=group.warnings,
        group=group.key,
    )


def _own_name(group: Group) -> str:
    """Return the experiment's name of the dataset's first judgements; "" if it has none."""
    return next((printable(judge.file.beside) for judge in group.judges if judge.file), "")


def _beside(group: Group) -> str:
    """Return the words of a caption on the judgements that the values are by."""
    files = [judge.label for judge in group.judges if judge.file]
    if not files:
        return "by the dataset's judgements, and with a model's grades in their holes"
    names = " and ".join([_own_name(group), *files])
    models = (
        "" if len(files) == len(group.judges) else ", and with a model's grades in the holes of the first"
    )
    return f"by the judgements {names}{models}"


def _count_of_queries(group: Group) -> int:
    """Return the number of queries that the dataset judges or, if it judges none, the first further set."""
    return len(group.pool.qrels) or group.judges[0].queries


def _head(measure: str, section: str, source: str) -> Head:
    """Return the heading of a measure by one source of judgements."""
    return Head(f"{source}:{measure}", measure, section, f"{measure}, {section[0].lower()}{section[1:]}")


def _cells(
    measure: str,
    estimates: Mapping[str, Mapping[str, Estimate]],
    against: Mapping[str, Mapping[str, Comparison]],
) -> dict[str, Cell]:
    """Return the cells of a measure by system label."""
    cells = {}
    for label, by_measure in estimates.items():
        if measure in by_measure:
            estimate = by_measure[measure]
            comparison = against.get(label, {}).get(measure)
            cells[label] = Cell(
                value=estimate.value,
                text=percent(estimate.value) if measure == JUDGED else fixed(estimate.value, 4),
                low=estimate.low,
                high=estimate.high,
                change=change_of(comparison),
                p_value=comparison.p_value if comparison else None,
                p_holm=comparison.p_holm if comparison else None,
                interval=""
                if estimate.low is None or estimate.high is None
                else _interval(estimate.low, estimate.high),
            )
    return cells


def _interval(low: float, high: float) -> str:
    """Return an interval as text."""
    return f"{fixed(low, 4)}–{fixed(high, 4)}"


def _about_judge(judge: Judge, group: Group) -> str:
    """Return the legend's sentence on a model: what it graded, with which prompt, scale and faults."""
    if judge.file is not None:
        return _about_file(judge, judge.file, group)
    text = (
        f"{judge.label} graded {count(judge.filled)} passages that the dataset does not judge, of the first "
        f"{judge.depth} of each system, by the prompt template {judge.prompt}"
    )
    if judge.scale != tuple(range(len(judge.scale))):
        text += f"; its grades 0 to 3 count as {', '.join(map(str, judge.scale))}"
    if judge.faults:
        text += f"; {count(judge.faults)} outputs without a grade leave their passages unjudged"
    if judge.agreement is None and judge.estimates:
        text += "; its agreement with the dataset is not known, for it graded no judged passage"
    return text


def _about_file(judge: Judge, file: JudgementFile, group: Group) -> str:
    """Return the legend's sentence on a further judgement file: its source, grades and queries."""
    name, digest = printable(Path(file.path).name), file.digest[:12]
    source = f"{name}, sha256 {digest}" if digest else "the dataset's own"
    text = f"{judge.label} ({source}) holds {count(judge.graded)} grades of these queries"
    if judge.queries < len(group.pool.qrels):
        text += f"; its values are means over the {count(judge.queries)} queries that it judges"
    if judge.agreement is None:
        text += f"; it judges no passage that {_own_name(group)} judges, so their agreement is not known"
    return text


def _confusion(group: Group, judge: Judge, agreed: Agreement, number: int) -> Table:
    """Build the confusion matrix of a model's grades, a row for each grade of the dataset."""
    name = _own_name(group) if judge.file else ""
    own_grades = sorted({first for first, _ in agreed.confusion})
    grades = sorted({*judge.scale, *(second for _, second in agreed.confusion)})
    rows = tuple(
        Row(
            f"grade {grade} {f'by {name}' if name else 'in the dataset'}",
            "reranker",
            "",
            "done",
            (),
            tuple(_count(agreed.confusion.get((grade, other), 0)) for other in grades),
        )
        for grade in own_grades
    )
    kappa = {"kappa": agreed.kappa, "kappa_relevant": agreed.kappa_relevant}
    return Table(
        name=f"agreement-{group.key}-{number}",
        caption=(
            f"Grades of {judge.label} by those of {name or 'the dataset'}, on {agreed.passages} passages "
            "with both."
        ),
        about={
            **about(group),
            "judge": judge.label,
            "passages": agreed.passages,
            "equal": fixed(agreed.equal, 4),
            **{name: "" if value is None else fixed(value, 4) for name, value in kappa.items()},
        },
        columns=tuple(
            Head(f"grade:{grade}", str(grade), f"Grade of {judge.label}", f"passages graded {grade}")
            for grade in grades
        ),
        rows=rows,
        notes=(
            Note(f"Equal grades {percent(agreed.equal)}"),
            Note(f"Cohen's kappa of the grades {_kappa(agreed.kappa)}"),
            Note(
                f"Cohen's kappa of relevant or not (grade {agreed.relevant_from} and up) "
                f"{_kappa(agreed.kappa_relevant)}"
            ),
        ),
        group=group.key,
        row_title="Grade",
    )


def _count(number: int) -> Cell:
    """Return a number as a cell."""
    return Cell(value=number, text=count(number))


def _kappa(value: float | None) -> str:
    """Return Cohen's kappa as text."""
    return "not defined, for one grade was given throughout" if value is None else fixed(value, 3)
