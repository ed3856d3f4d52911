"""Suites: the datasets of published benchmarks with their first stages, measures and citation.

A suite is a YAML file in `benchmarks/configs/suites`, or one of the user's own. It stands where an
experiment file names a dataset: `datasets: bright`. `bright-biology` names one of its datasets.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from benchmarks.datasets.fetching import fetch_file
from benchmarks.datasets.specs import JudgementsName
from benchmarks.evaluation.measures import expand
from benchmarks.experiments.dataset_entries import DatasetEntry, as_list
from benchmarks.experiments.files.yaml_models import explained, folder_of, located, opened
from benchmarks.first_stages.specs import FirstStageSpec
from benchmarks.results.record import SuiteMember
from rerankers.errors import InputError, UnknownNameError
from rerankers.files.paths import existing_path
from rerankers.models.locate import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

READY_SUITES = Path(__file__).parents[1] / "configs" / "suites"


class Download(BaseModel):
    """The files of a suite's datasets, if they are fetched from a URL.

    Attributes:
        url: the folder that holds the files.
        sha256: the digest of each file, by its name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    url: str
    sha256: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]


class Suite(BaseModel):
    """The content of a suite's file.

    Attributes:
        summary: description in one line.
        datasets: its datasets, each with a name for tables; first stages, measures, exclusions and
            instructions of a dataset replace the suite's.
        first_stages: retrieval methods that propose the candidates.
        measures: as published; the first is the headline.
        exclude: exclusion rule of every dataset.
        instruction: relevance instruction of every dataset.
        citation: the publication.
        download: where the datasets' files are fetched from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    summary: str
    datasets: Annotated[list[DatasetEntry], BeforeValidator(as_list), Field(min_length=1)]
    first_stages: Annotated[list[FirstStageSpec], BeforeValidator(as_list)] = []
    measures: Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]
    exclude: str | None = None
    instruction: str | None = None
    citation: str
    download: Download | None = None
    _name: str = ""

    @property
    def name(self) -> str:
        """The suite's name in experiments: its file's name without suffix."""
        return self._name

    @model_validator(mode="after")
    def _is_complete(self) -> Suite:
        """Raise ValueError if a dataset lacks a name of its own or a first stage, or a measure is unknown."""
        names = [dataset.name for dataset in self.datasets]
        if None in names or len({*names}) < len(names):
            raise ValueError("every dataset of a suite has a name of its own")
        if not self.first_stages and not all(dataset.first_stages for dataset in self.datasets):
            raise ValueError("a suite names first_stages, or each of its datasets does")
        for measure in [*self.measures, *(m for dataset in self.datasets for m in dataset.measures)]:
            try:
                expand(measure)
            except InputError as error:
                raise ValueError(str(error)) from error
        return self

    def member(self, position: int, changes: dict[str, Any]) -> DatasetEntry:
        """Return one of the datasets, with the suite's settings filled in where it has none.

        Args:
            position: its position in `datasets`.
            changes: values that replace the dataset's, by name.
        """
        dataset = self.datasets[position]
        name = str(dataset.name)
        values = {
            "name": name if name == self._name else f"{self._name}-{name}",
            "first_stages": dataset.first_stages or self.first_stages,
            "measures": [
                expanded for measure in dataset.measures or self.measures for expanded in expand(measure)
            ],
            "exclude": dataset.exclude or self.exclude,
            "instruction": dataset.instruction or self.instruction,
            **self._downloaded(dataset),
            **changes,
        }
        member = dataset.model_copy(update=values)
        member._suite = SuiteMember(
            name=self._name, title=name, datasets=len(self.datasets), part_of=dataset.part_of
        )
        return member

    @property
    def _cache(self) -> Path:
        """The cache folder of the suite's files."""
        return cache_folder() / "suites" / self._name

    def _downloaded(self, dataset: DatasetEntry) -> dict[str, str]:
        """Return the cache paths of a dataset's files by key; empty if the suite downloads nothing."""
        named = {key: getattr(dataset, key) for key in ("candidates", "qrels", "folder")}
        is_fetched = self.download is not None
        return {key: str(self._cache / file) for key, file in named.items() if file and is_fetched}

    def fetch(self) -> None:
        """Download the suite's files that are not in the cache.

        Raises:
            InputError: a file cannot be fetched, or its digest differs from the one in the suite's file.
        """
        if self.download is not None:
            for name, sha256 in self.download.sha256.items():
                fetch_file(f"{self.download.url}{name}", self._cache / name, sha256)


class SuiteSpec(BaseModel):
    """A suite in place of a dataset. A plain string stands for `suite`.

    Attributes:
        suite: the name of a ready suite (`rerankbench list suites`), or the file of one of your own;
            `SUITE-DATASET` is one of its datasets.
        only: names of the suite's datasets to use; by default all.
        query_field: field of every dataset's queries to use, in place of the suite's.
        retrieval_query_field: field that the first stage reads, in place of the suite's.
        instruction: instruction of every dataset, in place of the suite's.
        judgements: sets of judgements side by side, by name, as a dataset has them; of a single dataset only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    suite: str = Field(min_length=1)
    only: Annotated[list[str], BeforeValidator(as_list)] = []
    query_field: str | None = Field(default=None, min_length=1)
    retrieval_query_field: str | None = Field(default=None, min_length=1)
    instruction: str | None = Field(default=None, min_length=1)
    judgements: dict[JudgementsName, Annotated[str, Field(min_length=1)]] | None = Field(
        default=None, min_length=1
    )

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: Any) -> Any:
        """Return `{"suite": value}` for a string, other values unchanged."""
        return {"suite": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _exists(self) -> SuiteSpec:
        """Raise ValueError if the suite or one of the named datasets does not exist."""
        try:
            self.members()
        except InputError as error:
            raise ValueError(str(error)) from error
        return self

    def members(self) -> list[DatasetEntry]:
        """Return the suite's datasets, or those that `only` names, with this entry's changes.

        Raises:
            InputError: the suite, or one of the datasets, does not exist, or judgements are for several.
        """
        suite, single = find_suite(self.suite)
        names = [member.name or "" for member in suite.datasets]
        for name in self.only:
            if name not in names:
                raise UnknownNameError(f"dataset of {self.suite}", name, names)
        wanted = self.only or ([single] if single else names)
        if self.judgements is not None and len(wanted) > 1:
            raise InputError(
                f"judgements goes with one dataset, and {self.suite} has {len(wanted)} here. "
                "Choose one with `only`."
            )
        changes = self.model_dump(exclude={"suite", "only"}, exclude_none=True)
        return [
            suite.member(position, changes)
            for position, member in enumerate(suite.datasets)
            if member.name in wanted
        ]


def suite_names() -> list[str]:
    """Return the names of the ready suites."""
    return sorted(path.stem for path in READY_SUITES.glob("*.yaml"))


def is_suite(name: str) -> bool:
    """Return whether a ready suite, or one of a ready suite's datasets, has this name."""
    return _ready(name) is not None


def find_suite(name: str) -> tuple[Suite, str | None]:
    """Load a suite by name or path; also return the dataset's own name if `name` is `SUITE-DATASET`.

    Args:
        name: name of a ready suite, `SUITE-DATASET`, or path of a suite's file.

    Raises:
        InputError: there is no such suite, or its file is wrong.
    """
    ready = _ready(name)
    if ready is not None:
        return ready
    path = existing_path(name)
    if path is not None and path.is_file():
        return read_suite(path), None
    raise UnknownNameError("suite", name, suite_names())


def _ready(name: str) -> tuple[Suite, str | None] | None:
    """Return what `find_suite` does for ready suites; None for any other name."""
    for suite in suite_names():
        if name == suite:
            return read_suite(READY_SUITES / f"{suite}.yaml"), None
    for suite in suite_names():
        if name.startswith(f"{suite}-"):
            page = read_suite(READY_SUITES / f"{suite}.yaml")
            dataset = name.removeprefix(f"{suite}-")
            if dataset in [member.name for member in page.datasets]:
                return page, dataset
    return None


@cache
def read_suite(path: Path) -> Suite:
    """Read and validate a suite's file.

    Raises:
        InputError: it cannot be read, or is wrong: `file:line: what`.
    """
    file, content = opened(
        path, (), "a suite is a mapping: summary, datasets, first_stages, measures, citation"
    )
    if "download" not in content:
        content = {**content, "datasets": located(content.get("datasets"), folder_of(path), "")}
    try:
        suite = Suite.model_validate(content)
    except ValidationError as error:
        raise explained(file, error, Suite) from error
    suite._name = path.name.partition(".")[0]
    return suite


def fetch_suites(datasets: Iterable[object]) -> None:
    """Download the files of all suites among some entries of `datasets`, unless they are cached.

    Raises:
        InputError: a file cannot be fetched, or has another digest.
    """
    for data in datasets:
        if isinstance(data, SuiteSpec):
            find_suite(data.suite)[0].fetch()


def spread(limit: int | None, members: int) -> list[int | None]:
    """Divide a limit of queries over a suite's datasets; each gets at least one, or None without a limit."""
    if limit is None:
        return [None] * members
    share, rest = divmod(limit, members)
    return [max(1, share + (position < rest)) for position in range(members)]
