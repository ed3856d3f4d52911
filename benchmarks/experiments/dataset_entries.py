"""A dataset as an experiment names it: the data, and what is used with it alone."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from benchmarks.datasets.specs import DatasetSpec
from benchmarks.first_stages.specs import FirstStageSpec
from benchmarks.results.record import SuiteMember


def as_list(value: Any) -> Any:
    """Return a list of one value, or the list that was given."""
    return value if isinstance(value, list) else [value]


class DatasetEntry(DatasetSpec):
    """A dataset of an experiment, and what is used with it. A plain string stands for `id`, or for the
    folder or candidates file it names.

    Attributes:
        first_stages: what proposes the candidates, where the experiment itself names no first stages.
        measures: of this dataset, where the experiment itself names no measures.
        part_of: a larger dataset. In the average over datasets, all its parts count as one.
    """

    first_stages: Annotated[list[FirstStageSpec], BeforeValidator(as_list), Field(default_factory=list)]
    measures: Annotated[list[str], BeforeValidator(as_list), Field(default_factory=list)]
    part_of: str | None = Field(default=None, min_length=1)
    _suite: SuiteMember | None = None

    @property
    def suite(self) -> SuiteMember | None:
        """The suite that the dataset was named by; None for a dataset that was named alone."""
        return self._suite

    def identity(self) -> dict[str, Any]:
        """Return what of it defines a candidate set."""
        own = ("first_stages", "measures", "part_of")
        return {name: value for name, value in super().identity().items() if name not in own}
