"""Values by the dataset's judgements beside values by other judgements, and how far both agree.

A model's grades fill holes in the dataset's; the grades of a file stand alone.
"""

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
    from reports.analysis.comparisons.judges import Judge
    from reports.analysis.values import Comparison, Context, Estimate, Group

OWN = "Judgements of the dataset"
JUDGED = "Judged@10"


def tables(context: Context) -> list[Table]:
    """Build one table for each group that has judgements of a model or a file beside its own."""
    return [_values(group) for group in context.groups if group.judges]


def agreements(context: Context) -> list[Table]:
    """Build one table for each group and judge: its grades by those of the dataset."""
    return [
        _confusion(group, judge, judge.agreement, number)
        for group in context.groups
        for number, judge in enumerate(group.judges, 1)
        if judge.agreement
    ]


def _values(group: Group) -> Table:
    measures = [group.headline, JUDGED]
    columns: list[tuple[Head, Mapping[str, Cell]]] = []
    if group.pool.qrels:
        own = {one.label: one.quality.estimates for one in group.systems}
        tested = {one.label: one.quality.against for one in group.systems}
        name = _own_name(group)
        section = f"Judgements {name}" if name else OWN
        columns += [(_head(m, section, "own"), _cells(m, own, tested)) for m in measures]
    for number, judge in enumerate(group.judges, 1):
        section = f"Judgements {judge.label}" if judge.file else f"Holes filled by {judge.label}"
        source = f"by-{judge.label}" if judge.file else f"filled-{number}"
        columns += [(_head(m, section, source), _cells(m, judge.estimates, judge.against)) for m in measures]
    systems = [one for one in group.systems if one.status == "done"]
    return Table(
        name=f"judgements-{group.key}",
        caption=f"{group.headline} {_beside(group)}, on {group.title} ({_count_of_queries(group)} queries).",
        about=about(group),
        columns=tuple(head for head, _ in columns),
        rows=tuple(Row.of(one, (cells.get(one.label, Cell()) for _, cells in columns)) for one in systems),
        notes=(
            *([Note(tests_against([group.baseline]))] if group.baseline else []),
            *(Note(_about_judge(judge, group)) for judge in group.judges),
        ),
        warnings=group.warnings,
        group=group.key,
    )


def _own_name(group: Group) -> str:
    """Return what the experiment calls the dataset's first judgements; "" where it names none."""
    return next((printable(judge.file.beside) for judge in group.judges if judge.file), "")


def _beside(group: Group) -> str:
    """Return by which judgements a group's values are, in the words of a caption."""
    files = [judge.label for judge in group.judges if judge.file]
    if not files:
        return "by the dataset's judgements, and with a model's grades in their holes"
    named = " and ".join([_own_name(group), *files])
    models = (
        "" if len(files) == len(group.judges) else ", and with a model's grades in the holes of the first"
    )
    return f"by the judgements {named}{models}"


def _count_of_queries(group: Group) -> int:
    return len(group.pool.qrels) or group.judges[0].queries


def _head(measure: str, section: str, source: str) -> Head:
    return Head(f"{source}:{measure}", measure, section, f"{measure}, {section[0].lower()}{section[1:]}")


def _cells(
    measure: str,
    estimates: Mapping[str, Mapping[str, Estimate]],
    against: Mapping[str, Mapping[str, Comparison]],
) -> dict[str, Cell]:
    cells = {}
    for label, by_measure in estimates.items():
        if measure in by_measure:
            one = by_measure[measure]
            comparison = against.get(label, {}).get(measure)
            cells[label] = Cell(
                value=one.value,
                text=percent(one.value) if measure == JUDGED else fixed(one.value, 4),
                low=one.low,
                high=one.high,
                change=change_of(comparison),
                p_value=comparison.p_value if comparison else None,
                p_holm=comparison.p_holm if comparison else None,
                interval="" if one.low is None or one.high is None else _interval(one.low, one.high),
            )
    return cells


def _interval(low: float, high: float) -> str:
    return f"{fixed(low, 4)}–{fixed(high, 4)}"


def _about_judge(judge: Judge, group: Group) -> str:
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
    name, digest = printable(Path(file.path).name), file.digest[:12]
    source = f"{name}, sha256 {digest}" if digest else "the dataset's own"
    text = f"{judge.label} ({source}) holds {count(judge.graded)} grades of these queries"
    if judge.queries < len(group.pool.qrels):
        text += f"; its values are means over the {count(judge.queries)} queries that it judges"
    if judge.agreement is None:
        text += f"; it judges no passage that {_own_name(group)} judges, so their agreement is not known"
    return text


def _confusion(group: Group, judge: Judge, agreed: Agreement, number: int) -> Table:
    name = _own_name(group) if judge.file else ""
    own = sorted({first for first, _ in agreed.confusion})
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
        for grade in own
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
    )


def _count(number: int) -> Cell:
    return Cell(value=number, text=count(number))


def _kappa(value: float | None) -> str:
    return "not defined, for one grade was given throughout" if value is None else fixed(value, 3)
