"""Sentences for a paper on how a folder's results were measured, from its records alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.analysis import first_stages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from benchmarks.results.record import Protocol, Record, Session
    from benchmarks.results.store import Results

_LIBRARIES = ("torch", "transformers", "sentence-transformers", "vllm", "onnxruntime", "openvino", "pyserini")
_SETTINGS = (  # of a system, where its options or its own description name them
    *("model", "revision", "code", "dtype", "attention", "embeddings"),
    *("window", "step", "window_policy", "prompt", "passage_words", "passage_tokens", "max_passage_tokens"),
    *("initial_order", "temperature", "seed"),
)
_MEASURES = "Measures are means over all judged queries, where a query without a ranking counts 0."
_INTERVALS = "Intervals are 95\u202f% percentile bootstraps over queries."
_TESTS = "Tests are two-sided paired t-tests with Holm's correction."


def sentences(folder: Results) -> tuple[str, ...]:
    """Return sentences on candidates, machine, software, protocol, systems and tests of done cells."""
    records = [cell.record for cell in folder.cells if cell.record.status == "done"]
    measured = [record for record in records if record.sessions]
    if not records:
        return ()
    is_judged = any(folder.pool(digest).qrels for digest in {record.pool for record in records} - {""})
    return (
        *_candidates(folder, records),
        *_machine([session for record in measured for session in record.sessions]),
        *(_protocol(protocol) for protocol in _unlike(record.protocol for record in measured)),
        *(_system(record) for record in _unlike_systems(records)),
        f"{_MEASURES} {_INTERVALS} {_TESTS}" if is_judged else _INTERVALS,
    )


def _candidates(folder: Results, records: Sequence[Record]) -> Iterator[str]:
    """Yield a sentence on each candidate set: dataset, depth, first stage, and number of queries."""
    is_measured = any(record.sessions for record in records)
    for record in {record.pool: record for record in records if record.pool}.values():
        pool = folder.pool(record.pool)
        untimed = "; the first stage was not timed" if is_measured and not pool.retrieve_seconds else ""
        yield (
            f"On {record.dataset}, all systems got the same first {record.depth} candidates of "
            f"{first_stages.describe(record.first_stage)} for {len(pool.queries)} queries "
            f"(candidate set {record.pool}{untimed})."
        )


def _machine(sessions: Sequence[Session]) -> Iterator[str]:
    """Yield a sentence on the sessions' hardware and threads, and one on their software versions."""
    from benchmarks.measuring.hardware import hardware

    if not sessions:
        return
    environments = [session.environment for session in sessions]
    machines = _unlike(hardware(environment) for environment in environments)
    threads = _unlike(
        environment["threads"]["pinned"]
        for environment in environments
        if environment.get("threads", {}).get("pinned")
    )
    on = f" with {_listed(threads)} thread{'s' * (threads != [1])}" if threads else ""
    yield f"Times were measured on {_listed(machines)}{on}."
    versions = {
        name: _unlike(one["libraries"][name] for one in environments if name in one.get("libraries", {}))
        for name in ("rerankbench", *_LIBRARIES)
    }
    pythons = _unlike(one["python"] for one in environments if one.get("python"))
    used = [f"Python {_listed(pythons)}"] if pythons else []
    used += [f"{name} {_listed(numbers)}" for name, numbers in versions.items() if numbers]
    if used:
        yield f"The software was {_listed(used)}."


def _protocol(protocol: Protocol) -> str:
    """Return sentences on one measuring protocol: mode, warm-up, repeats and seed."""
    if protocol.served is not None:
        how = f"Requests arrived as {protocol.served.load}"
    elif protocol.mode == "latency":
        how = "One query was reranked at a time"
    else:
        how = f"Queries were reranked in batches of {protocol.batch_size}"
    how += ", the systems in turn, query by query" if protocol.interleave else ""
    if protocol.warmup == "stable":
        warm = "until the time of the first query was stable"
    else:
        warm = f"by {_counted(protocol.warmup, 'query', 'queries')}"
    times = "once" if protocol.repeats == 1 else f"{protocol.repeats} times"
    return (
        f"{how}. Each query was measured {times}, after warming up {warm}. Loading, warming "
        f"up and retrieval are in none of the times. The seed was {protocol.seed}."
    )


def _system(record: Record) -> str:
    """Return the sentence on one system and its settings; "" where no setting is known."""
    if record.is_imported:
        return f"{record.system.label} is another's run, of which nothing was measured here."
    settings = [
        *_settings(record.system.described, record.system.options),
        *_components(record.system.described, record.system.options),
    ]
    named = record.system.label
    method = "" if named == record.system.reranker else f" ({record.system.reranker})"
    return f"{named}{method}: {', '.join(settings)}." if settings else ""


def _settings(described: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    """Return a method's settings in words, such as `dtype bfloat16`, in a fixed order.

    Args:
        described: the method's own description of what it ran.
        options: its options in the experiment, which take precedence except for `revision`.
    """
    values: dict[str, Any] = {**described, **options}
    revision = described.get("revision")
    values |= {"revision": revision} if revision else {}
    return [f"{name.replace('_', ' ')} {_text(values[name])}" for name in _SETTINGS if _is_told(values, name)]


def _components(described: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the components of a fusion or the steps of a cascade, each with its settings in brackets.

    Args:
        described: the method's own description of what it ran.
        options: its options in the experiment.
    """
    for key in ("parts", "steps"):
        entries = options.get(key, [])
        for place, component in enumerate(described.get(key, [])):
            entry = entries[place] if place < len(entries) and isinstance(entries[place], dict) else {}
            settings = _settings(component, entry.get("options") or {})
            settings += [f"depth {component['depth']}"] if component.get("depth") else []
            name = str(component.get("reranker") or entry.get("name") or "a component")
            yield f"{name} ({', '.join(settings)})" if settings else name


def _is_told(values: Mapping[str, Any], name: str) -> bool:
    """Return whether the values hold a setting of that name that fits into a sentence."""
    return values.get(name) not in (None, "") and not isinstance(values[name], dict | list)


def _text(value: Any) -> str:
    """Return a setting's value as text, with digests cut to 16 hex digits."""
    text = str(value)
    return text[:23] if text.startswith("sha256:") else text


def _unlike_systems(records: Iterable[Record]) -> list[Record]:
    """Return one record for each different sentence about a system, in their order."""
    record_by_text = {_system(record): record for record in reversed([*records])}
    return [record for text, record in reversed(record_by_text.items()) if text]


def _unlike(values: Iterable[Any]) -> list[Any]:
    """Return the different values, in the order of their first occurrence."""
    different: list[Any] = []
    for value in values:
        different += [] if value in different else [value]
    return different


def _listed(values: Sequence[Any]) -> str:
    """Join values as in a sentence: `a, b and c`."""
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last


def _counted(count: int, one: str, many: str) -> str:
    """Return a count with its noun: the singular `one` for 1, else the plural `many`."""
    return f"{count} {one if count == 1 else many}"
