"""The names of first stages in reports: in full in titles, in short where that tells them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNNAMED = frozenset({"first-stage", "first stage"})
"""Labels of systems that keep the first stage's order and that nobody gave a name."""


def describe(described: Mapping[str, Any]) -> str:
    """Format a first stage's recorded description in a few words, such as `BM25 (k1 0.9, b 0.4)`."""
    kind = str(described.get("kind", "first stage"))
    if kind == "hybrid" and described.get("parts"):
        return f"hybrid ({' + '.join(in_short(describe(part)) for part in described['parts'])})"
    if kind in ("run", "pyterrier", "named"):  # another's, known by its name alone
        kind = str(described.get("name", kind))
    if kind == "dense" and "model" in described:
        return f"dense {_model(str(described['model']))}"
    parameters = [f"{name} {described[name]}" for name in ("k1", "b", "model") if name in described]
    if described.get("kind") == "named":
        parameters = [f"{name} {value}" for name, value in described.get("options", {}).items()]
    name = {"bm25": "BM25"}.get(kind, kind)
    return f"{name} ({', '.join(parameters)})" if parameters else name


def in_short(description: str) -> str:
    """Return a first stage's words without the parameters in brackets."""
    return description.partition(" (")[0]


def shortened(descriptions: Iterable[str]) -> dict[str, str]:
    """Return the short form of each description, by description; the full form where two would be alike."""
    by_name: dict[str, set[str]] = {}
    for description in descriptions:
        by_name.setdefault(in_short(description), set()).add(description)
    return {
        description: name if len(alike) == 1 else description
        for name, alike in by_name.items()
        for description in alike
    }


def _model(reference: str) -> str:
    """Return a model's name without its owner or folder, its package index, and its version."""
    return reference.rpartition("/")[2].removeprefix("pypi:").partition("==")[0]
