"""Rules that take passages out of the candidate set before it is frozen, because the dataset excludes them.

BRIGHT marks such passages by the grade -100. In ArguAna and Quora the query is itself a passage of the
collection, under the same id; BEIR's own evaluation leaves it out (`ignore_identical_ids`). Counted as not
relevant, these passages would push relevant ones down: with one of them at the first rank and the only
relevant passage behind it, nDCG@10 is 1 / log2(3) = 0.63 instead of 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerankers.errors import InputError
from rerankers.files.json_lines import read_lines
from rerankers.files.paths import user_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    Excluded = Mapping[str, frozenset[str]]
    Hits = Mapping[str, list[tuple[str, float]]]

IDENTICAL_ID = "identical-id"
NEGATIVE_GRADES = "negative-grades"
QUERY_DOCUMENT = "query-document"
"""The rule of datasets whose queries are given by a document of the collection."""
NONE = "none"

_DEFAULTS = {
    "bright/": NEGATIVE_GRADES,
    "beir/arguana": IDENTICAL_ID,
    "beir/quora": IDENTICAL_ID,
    "nano-beir/arguana": IDENTICAL_ID,
    "nano-beir/quora": IDENTICAL_ID,
}
"""Rules by the beginning of an ir_datasets id."""
_FOLDER_DEFAULTS = ("arguana", "quora")
_LOWEST_USUAL_GRADE = -2
"""TREC's web tracks grade spam -2; it stays in rankings there."""


RULES = (IDENTICAL_ID, NEGATIVE_GRADES, NONE)
"""The rules that can be chosen by name."""


def default_rule(dataset_id: str | None, folder: Path | None) -> str | None:
    """Return the exclusion rule that a dataset has by default; None where it has none.

    Args:
        dataset_id: the ir_datasets id; its beginning decides.
        folder: the folder of a dataset in the BEIR layout, whose name decides in place of the id; or None.
    """
    if folder is not None:
        return IDENTICAL_ID if folder.resolve().name.lower() in _FOLDER_DEFAULTS else None
    return next((rule for start, rule in _DEFAULTS.items() if (dataset_id or "").startswith(start)), None)


def excluded_again(described: Mapping[str, Any], qrels: Mapping[str, Mapping[str, int]]) -> Excluded:
    """Return the doc ids by query id that the rule of a stored candidate set excludes, worked out anew.

    Args:
        described: the stored description of the first stage, which names the rule.
        qrels: grade by doc id by query id.

    Returns:
        empty without a rule, and for a rule that is a file, whose content is not stored.
    """
    rule = described.get("excluded", {}).get("rule")
    return excluded_passages(rule, qrels, qrels) if rule in (IDENTICAL_ID, NEGATIVE_GRADES) else {}


def excluded_passages(
    rule: str | None, queries: Collection[str], qrels: Mapping[str, Mapping[str, int]]
) -> dict[str, frozenset[str]]:
    """Return the doc ids that no ranking may hold, by query id.

    Args:
        rule: `identical-id`, `negative-grades`, `none`, None, or the path of a file with two columns, query
            id and doc id.
        queries: query ids.
        qrels: grade by doc id by query id.

    Raises:
        InputError: the file cannot be read, or names a query that is not in the dataset.
    """
    if rule in (None, NONE, QUERY_DOCUMENT):
        return {}
    if rule == IDENTICAL_ID:
        return {query_id: frozenset({query_id}) for query_id in queries}
    if rule == NEGATIVE_GRADES:
        negative = {
            query_id: frozenset(doc_id for doc_id, grade in grades.items() if grade < 0)
            for query_id, grades in qrels.items()
        }
        return {query_id: doc_ids for query_id, doc_ids in negative.items() if doc_ids}
    return _read_file(user_path(rule), queries)


def _read_file(path: Path, queries: Collection[str]) -> dict[str, frozenset[str]]:
    """Read excluded doc ids by query id from a file with two columns, query id and doc id.

    Raises:
        InputError: there is no such file, a line has another number of columns, or a query is unknown.
    """
    if not path.exists():
        raise InputError(
            f"exclude: {str(path)!r} is not a file here. Write {', '.join(RULES)} or the path of a file."
        )
    excluded: dict[str, set[str]] = {}
    for number, line in read_lines(path):
        fields = line.split()
        if len(fields) != 2:
            reason = f"expected 2 columns (query_id, doc_id), found {len(fields)}; correct the line"
            raise InputError.at(path, number, reason)
        if fields[0] not in queries:
            raise InputError.at(path, number, f"query {fields[0]!r} is not in the dataset; correct the line")
        excluded.setdefault(fields[0], set()).add(fields[1])
    return {query_id: frozenset(doc_ids) for query_id, doc_ids in excluded.items()}


def leave_out(
    hits: Hits, excluded: Excluded, qrels: Mapping[str, Mapping[str, int]], depth: int
) -> tuple[dict[str, list[tuple[str, float]]], dict[str, int]]:
    """Remove excluded passages from hits, then cut each query's hits to `depth`.

    Args:
        hits: (doc id, score), best first, by query id.
        excluded: doc ids to remove, by query id.
        qrels: grade by doc id by query id, for the counts.
        depth: most hits of a query that stay.

    Returns:
        the hits that stay; and counts for the record: `candidates` removed from the first `depth`, `queries`
        that had one, and how many of these candidates are judged `relevant`.
    """
    kept: dict[str, list[tuple[str, float]]] = {}
    candidates = queries = relevant = 0
    for query_id, query_hits in hits.items():
        banned = excluded.get(query_id, frozenset())
        left = [doc_id for doc_id, _ in query_hits[:depth] if doc_id in banned]
        kept[query_id] = [hit for hit in query_hits if hit[0] not in banned][:depth]
        candidates += len(left)
        queries += bool(left)
        relevant += sum(qrels.get(query_id, {}).get(doc_id, 0) > 0 for doc_id in left)
    return kept, {"candidates": candidates, "queries": queries, "relevant": relevant}


def suspicions(
    candidates: Iterable[tuple[str, Iterable[str]]], qrels: Mapping[str, Mapping[str, int]]
) -> list[str]:
    """Return a warning for each sign that a dataset without an exclusion rule needs one.

    The signs are that half of the queries have a candidate with their own id, and grades below -2.

    Args:
        candidates: (query id, doc ids) of each query.
        qrels: grade by doc id by query id.
    """
    queries = identical = marked = 0
    for query_id, doc_ids in candidates:
        grades = qrels.get(query_id, {})
        listed = set(doc_ids)
        queries += bool(listed)
        identical += query_id in listed
        marked += sum(grades.get(doc_id, 0) < _LOWEST_USUAL_GRADE for doc_id in listed)
    warnings = []
    if identical > 1 and 2 * identical >= queries:
        warnings.append(
            f"{identical} of {queries} queries have a candidate with the query's own id. If it is the query "
            f"itself, set `exclude` of the dataset (import-run: --exclude) to {IDENTICAL_ID}, otherwise to "
            f"{NONE}."
        )
    if marked:
        warnings.append(
            f"{marked} candidates have a grade below {_LOWEST_USUAL_GRADE}. If that marks passages that are "
            f"not to be found, set `exclude` of the dataset (import-run: --exclude) to {NEGATIVE_GRADES}, "
            f"otherwise to {NONE}."
        )
    return warnings
