"""Counts model outputs that were not in the form the prompt requested.

Such outputs are repaired, so that every ranking is complete; the counts tell readers how often.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class OutputFaults:
    """Counts of well-formed and repaired model outputs over one system's rankings.

    Attributes:
        queries: number of rankings counted.
        faulty: number of rankings with a repaired output.
        well_formed: number of outputs in the requested form.
        kinds: number of faults by kind.
    """

    def __init__(self) -> None:
        self.queries = 0
        self.faulty = 0
        self.well_formed = 0
        self.kinds: Counter[str] = Counter()

    def add(self, usage: Mapping[str, Any]) -> None:
        """Add one ranking's usage, as `rerankers.Usage.nonzero` returns it, to the counts."""
        faults = usage.get("faults", {})
        self.queries += 1
        self.faulty += bool(faults)
        self.well_formed += usage.get("well_formed", 0)
        self.kinds.update(faults)

    @property
    def has_no_good_answer(self) -> bool:
        """True if every output was repaired, so that the rankings are not the model's."""
        return bool(self.kinds) and not self.well_formed

    def __str__(self) -> str:
        """Return the counts in one line; empty without faults."""
        if not self.kinds:
            return ""
        kinds = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(self.kinds.items()))
        sentence = f"answers were repaired in {self.faulty} of {self.queries} rankings ({kinds})"
        if self.has_no_good_answer:
            sentence += "; NOT ONE answer was as asked for: this is the order it was given, not a result"
        return sentence


def faults_of(cell: Path) -> OutputFaults:
    """Count the output faults in a cell's rows; all counts are 0 if no row has any."""
    faults = OutputFaults()
    try:
        lines = (cell / "queries.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return faults
    if any(b'"faults"' in line for line in lines):
        for line in lines:
            faults.add(json.loads(line)["usage"])
    return faults
