"""A reader of MS MARCO's and ColBERT's runs: query id, passage id, rank and perhaps a score a line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_RANK = re.compile(r"[0-9]{1,9}")


def is_start(line: str) -> bool:
    """Return whether the first line of a run has three or four columns, of which the third is a rank."""
    fields = line.split()
    return len(fields) in (3, 4) and _RANK.fullmatch(fields[2]) is not None


def scores(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str, str, str]]:
    """Yield (line number, query id, passage id, score as written) of each line; -rank without a score.

    Raises:
        InputError: a line has another number of columns, a rank is not a whole number, or a query has a rank
            twice and no scores.
    """
    columns = 0
    seen: set[tuple[str, str]] = set()
    for number, line in lines:
        fields = line.split()
        columns = columns or len(fields)
        if len(fields) != columns:
            expected = "query_id doc_id rank" + (" score" if columns == 4 else "")
            reason = f"expected {columns} columns ({expected}), found {len(fields)}; correct the line"
            raise InputError.at(path, number, reason)
        query_id, doc_id, rank = fields[:3]
        if not _RANK.fullmatch(rank):
            reason = f"the rank {rank!r} is not a whole number; write 1, 2, 3, ..."
            raise InputError.at(path, number, reason)
        if columns == 3 and (query_id, rank) in seen:
            reason = f"query {query_id!r} has the rank {rank} a second time; is this a file of judgements?"
            raise InputError.at(path, number, reason)
        seen.add((query_id, rank))
        yield number, query_id, doc_id, f"-{rank}" if columns == 3 else fields[3]
