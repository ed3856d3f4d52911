"""First stages by name: registered ones, and classes of the user's own.

A class is imported, never evaluated from text, and its options are validated before anything runs.
"""

from __future__ import annotations

import importlib
import inspect
import math
from typing import TYPE_CHECKING, Any, cast

from benchmarks.first_stages.interface import Documents, FirstStage
from benchmarks.first_stages.registry import FIRST_STAGES
from rerankers.errors import InputError, UnknownNameError
from rerankers.files.fingerprints import file_digest
from rerankers.options import validate
from rerankers.registry import is_own_name, own_object, source_of
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from benchmarks.datasets.dataset import Dataset
    from rerankers.options import Options

Hits = dict[str, list[tuple[str, float]]]


def load(name: str) -> type[FirstStage]:
    """Import and return the first-stage class that a name stands for.

    Raises:
        UnknownNameError: the name is neither registered nor of the form `module:Class`.
        InputError: it names a class of one's own that cannot be imported, or is not a first stage.
    """
    if name in FIRST_STAGES:
        module, _, attribute = FIRST_STAGES[name].partition(":")
        return cast("type[FirstStage]", getattr(importlib.import_module(module), attribute))
    if not is_own_name(name):
        raise UnknownNameError("first stage", name, FIRST_STAGES)
    loaded = own_object(name, "first stage")
    if not (inspect.isclass(loaded) and issubclass(loaded, FirstStage)):
        module, _, attribute = name.partition(":")
        raise InputError(
            f"{module} has no class {attribute!r} that is a benchmarks.FirstStage. Correct the name"
        )
    return loaded


def validated(name: str, options: Mapping[str, object]) -> Options:
    """Validate options against a first stage's options model, without constructing it, and return the model.

    Raises:
        UnknownNameError: the first stage or an option is unknown.
        InputError: an option is missing, is not allowed, or does not fit the others.
    """
    return validate(load(name).options_model, name, options)


def search(
    name: str, options: Mapping[str, object], dataset: Dataset, queries: Mapping[str, str], depth: int
) -> tuple[Hits, dict[str, float], dict[str, Any]]:
    """Construct a first stage on a dataset's passages, and search for each query, timed, one at a time.

    Args:
        name: registered name or `module:Class`.
        options: the first stage's options.
        dataset: the dataset whose passages are searched.
        queries: text by query id.
        depth: most hits of a query.

    Returns:
        (doc id, score), best first, by query id; seconds by query id; and a description of the first stage in
        JSON values.

    Raises:
        InputError: the class fails, or its results are not doc ids with falling scores.
    """
    checked = validated(name, options)
    implementation: Any = load(name)
    first_stage: FirstStage = _called(name, implementation, Documents(dataset), checked)

    def results(query: str) -> list[Any]:
        ranking: list[Any] = _called(name, lambda: [*first_stage.search(query, depth)])
        return ranking

    for query in [*queries.values()][:1]:
        results(query)  # loads what is loaded late: not the first query's fault
    clock = StageClock()
    hits: Hits = {}
    seconds: dict[str, float] = {}
    for query_id, query in queries.items():
        started = clock.now()
        ranking = results(query)
        seconds[query_id] = clock.now() - started
        hits[query_id] = _pairs(name, query_id, ranking)[:depth]
    described: dict[str, Any] = {"kind": "named", "name": name.rpartition(":")[2]}
    if checked.option_names():
        described["options"] = checked.model_dump(mode="json")
    if name not in FIRST_STAGES:
        described |= {"class": name, "module_sha256": file_digest(source_of(name))}
    return hits, seconds, described


def check_hits(name: str, query_id: str, hits: Iterable[tuple[str, float]]) -> None:
    """Check that a query's hits hold no passage twice and only finite scores.

    Raises:
        InputError: they do not; the message begins with `name`.
    """
    ranking = [*hits]
    if len({doc_id for doc_id, _ in ranking}) < len(ranking):
        raise InputError(f"{name}: query {query_id!r} has a passage twice. Drop duplicates from its results")
    if not all(math.isfinite(score) for _, score in ranking):
        raise InputError(f"{name}: query {query_id!r} has a score that is not a number. Correct its scores")


def _pairs(name: str, query_id: str, ranking: list[Any]) -> list[tuple[str, float]]:
    """Turn the results of a first stage's search into (doc id, score) pairs, and check them.

    Raises:
        InputError: results are not pairs, name a passage twice, or have scores that rise.
    """
    try:
        hits = [(str(doc_id), float(score)) for doc_id, score in map(_pair, ranking)]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name}: query {query_id!r}: results are not pairs of doc id and score. Return such pairs"
        ) from error
    check_hits(name, query_id, hits)
    for rank in range(1, len(hits)):
        if hits[rank][1] > hits[rank - 1][1]:
            raise InputError(
                f"{name}: query {query_id!r}: the score at rank {rank + 1} is higher than the one before. "
                "Return the best first"
            )
    return hits


def _pair(hit: Any) -> Any:
    """Return a result unchanged, to be unpacked into a pair.

    Raises:
        TypeError: it is a string; one of two letters would be unpacked into them.
    """
    if isinstance(hit, str):  # of two letters, it would be cut into them
        raise TypeError
    return hit


def _called(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of the user's first stage with the arguments and return its result.

    Raises:
        InputError: it raises anything; the message begins with `name`.
    """
    try:
        return function(*arguments)
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or "no reason given"
        raise InputError(f"{name}: {type(error).__name__}: {reason}. Correct the class") from error
