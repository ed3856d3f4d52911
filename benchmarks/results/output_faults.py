"""Sums up the answers that models gave in another form than they were asked for.

Such answers are repaired, so that a ranking always comes out. Whoever reads it has to know how often.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class OutputFaults:
    """The output faults of one system's rankings.

    Attributes:
        queries: rankings seen.
        faulty: rankings of which an answer was repaired.
        well_formed: answers that were just what was asked for.
        kinds: faults by kind.
    """

    def __init__(self) -> None:
        self.queries = 0
        self.faulty = 0
        self.well_formed = 0
        self.kinds: Counter[str] = Counter()

    def add(self, usage: Mapping[str, Any]) -> None:
        """Count the usage of one ranking: `rerankers.Usage.nonzero`."""
        faults = usage.get("faults", {})
        self.queries += 1
        self.faulty += bool(faults)
        self.well_formed += usage.get("well_formed", 0)
        self.kinds.update(faults)

    @property
    def has_no_good_answer(self) -> bool:
        """Return whether every answer was repaired, so that the rankings are not the model's."""
        return bool(self.kinds) and not self.well_formed

    def __str__(self) -> str:
        """Say it in one line; empty without faults."""
        if not self.kinds:
            return ""
        kinds = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(self.kinds.items()))
        sentence = f"answers were repaired in {self.faulty} of {self.queries} rankings ({kinds})"
        if self.has_no_good_answer:
            sentence += "; NOT ONE answer was as asked for: this is the order it was given, not a result"
        return sentence


def faults_of(cell: Path) -> OutputFaults:
    """Read the output faults of a cell; a cell without any is not parsed."""
    faults = OutputFaults()
    try:
        lines = (cell / "queries.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return faults
    if any(b'"faults"' in line for line in lines):
        for line in lines:
            faults.add(json.loads(line)["usage"])
    return faults
