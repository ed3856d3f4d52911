"""An entry of `datasets` in an experiment file: a dataset with first stages and measures of its own."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from benchmarks.datasets.specs import DatasetSpec
from benchmarks.first_stages.specs import FirstStageSpec
from benchmarks.results.record import SuiteMember


def as_list(value: Any) -> Any:
    """Return a list unchanged, and any other value as a list of one."""
    return value if isinstance(value, list) else [value]


class DatasetEntry(DatasetSpec):
    """A dataset of an experiment, with first stages and measures of its own.

    A plain string stands for `id`, or for the folder or candidates file that it names.

    Attributes:
        first_stages: retrieval methods to use if the experiment names no first stages.
        measures: measures to use if the experiment names no measures.
        part_of: name of a larger dataset. In the average over datasets, all its parts count as one.
    """

    first_stages: Annotated[list[FirstStageSpec], BeforeValidator(as_list), Field(default_factory=list)]
    measures: Annotated[list[str], BeforeValidator(as_list), Field(default_factory=list)]
    part_of: str | None = Field(default=None, min_length=1)
    _suite: SuiteMember | None = None

    @property
    def suite(self) -> SuiteMember | None:
        """The suite through which the dataset was named, and its place there.

        None for a dataset on its own.
        """
        return self._suite

    def identity(self) -> dict[str, Any]:
        """Return the settings that define a candidate set, by name.

        First stages and measures are left out.
        """
        entry_keys = ("first_stages", "measures", "part_of")
        return {name: value for name, value in super().identity().items() if name not in entry_keys}
