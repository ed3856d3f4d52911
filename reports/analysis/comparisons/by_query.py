"""Mappings from query id to numbers that take a few bytes each.

A report holds those of every system and measure at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class ByQuery(Mapping[str, float]):
    """A mapping from query id to one number, kept as an array.

    Args:
        places: position in the array by query id, which the systems of a group share.
        array: the numbers, (n_queries,).
    """

    def __init__(self, places: Mapping[str, int], array: NDArray[np.float64]) -> None:
        self.places, self.array = places, array

    def __getitem__(self, query_id: str) -> float:
        return float(self.array[self.places[query_id]])

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def values(self) -> ValuesView[float]:
        """Return the numbers in the order of the queries, read from the array in one go."""
        return dict(zip(self.places, self.array.tolist(), strict=True)).values()


class RanksByQuery(Mapping[str, tuple[int, ...]]):
    """A mapping from query id to the first ranks of its ranking, kept as one array.

    Args:
        query_ids: ids of the ranked queries, in order.
        ranks: for each of them, its ranks; any number of them.
    """

    def __init__(self, query_ids: Sequence[str], ranks: Sequence[Sequence[int]]) -> None:
        self._places = {query_id: place for place, query_id in enumerate(query_ids)}
        self._ends = np.cumsum([0, *map(len, ranks)], dtype=np.int64)
        self._ranks = np.array([rank for of_query in ranks for rank in of_query], dtype=np.int32)

    def __getitem__(self, query_id: str) -> tuple[int, ...]:
        place = self._places[query_id]
        ranks: list[Any] = self._ranks[self._ends[place] : self._ends[place + 1]].tolist()
        return tuple(ranks)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, query_id: object) -> bool:
        return query_id in self._places

    def rows(self, query_ids: Sequence[str], depth: int) -> NDArray[np.int32]:
        """Return the first ranks of the given queries, (n_queries, depth), filled up with -1.

        Args:
            query_ids: ids, one for each row; a query that was not ranked has a row of -1.
            depth: number of ranks.
        """
        places = np.array([self._places.get(query_id, -1) for query_id in query_ids], dtype=np.int64)
        starts = self._ends[places]
        lengths = np.where(places < 0, 0, self._ends[places + 1] - starts)
        columns = np.arange(depth)
        is_filled = columns < lengths[:, None]
        rows = np.full((len(places), depth), -1, dtype=np.int32)
        rows[is_filled] = self._ranks[(starts[:, None] + columns)[is_filled]]
        return rows
