"""Experiment files: their options model, and the reader that reports errors with file and line.

Lists are crossed: datasets x first stages x depths x rerankers, and a list in place of a reranker's option is
a sweep over it; levels under `vary` are measured one factor at a time. Relative paths start at the
experiment file's folder.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from benchmarks.evaluation.measures import DEFAULT_MEASURES, expand
from benchmarks.experiments.dataset_entries import DatasetEntry, as_list
from benchmarks.experiments.files.yaml_models import explained, folder_of, located, opened, settings_file
from benchmarks.experiments.loads import ProtocolSpec
from benchmarks.experiments.suites import SuiteSpec, is_suite, spread
from benchmarks.experiments.variants import SEED, is_sweep, systems
from benchmarks.first_stages.named import validated as validated_first_stage
from benchmarks.first_stages.pyterrier import check_pipeline
from benchmarks.first_stages.specs import FirstStageSpec, Named, PyTerrier, components_of
from rerankers import registry
from rerankers.errors import InputError, OptionError, UnknownNameError
from rerankers.files.paths import existing_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.experiments.files.marked_yaml import MarkedYaml
    from benchmarks.experiments.files.yaml_scalars import Location
    from rerankers.options import MethodOptions

READY = Path(__file__).parents[1] / "configs"
MOST_CANDIDATES = 1_000_000  # per query; what is said before a run counts a listwise method's windows


def _as_mapping(value: Any) -> Any:
    """Return `{"name": value}` for a string, other values unchanged."""
    return {"name": value} if isinstance(value, str) else value


def _kind_of_dataset(value: Any) -> str:
    """Return the tag of an entry of `datasets`: `suite`, or `dataset` for all others."""
    is_named = is_suite(value) if isinstance(value, str) else isinstance(value, dict) and "suite" in value
    return "suite" if is_named or isinstance(value, SuiteSpec) else "dataset"


def _one_meaning(value: Any) -> Any:
    """Return the value, or raise ValueError if it names both a suite and an existing path."""
    if isinstance(value, str) and is_suite(value) and existing_path(value) is not None:
        raise ValueError(
            f"{value!r} is a suite and a folder or file here. Write {{suite: {value}}} or {{folder: {value}}}"
        )
    return value


Data = Annotated[
    Annotated[DatasetEntry, Tag("dataset")] | Annotated[SuiteSpec, Tag("suite")],
    Discriminator(_kind_of_dataset),
    BeforeValidator(_one_meaning),
]
"""A dataset, or a suite in place of one."""


class RerankerSpec(BaseModel):
    """An entry of `rerankers`: a reranker with its options. A plain string stands for its name.

    Attributes:
        name: the registered name; see `rerankbench list rerankers`.
        label: its name in tables; `{option}` stands for the option's value. By default the registered name,
            with the options that a sweep varies.
        options: constructor options; a list is a sweep, unless the option itself is a list.
        vary: levels by option, one factor at a time: besides the base, one system for each level that differs
            from the base. Seeds make replicates. Levels are never crossed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    label: str | None = Field(default=None, min_length=1)
    options: dict[str, Any] = {}
    vary: dict[str, Annotated[list[Any], BeforeValidator(as_list), Field(min_length=1)]] = {}

    def variants(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (label, options) of each system that the entry stands for."""
        model = registry.options_model(self.name)
        return systems(self.name, self.label, self.options, self.vary, model)


class Experiment(BaseModel):
    """The content of an experiment file.

    Attributes:
        name: name of the result folder; letters, digits, `-`, `_`, `.`.
        datasets: ids, folders or candidate files; or suites (`rerankbench list suites`).
        first_stages: retrieval methods that propose the candidates; by default the suite's.
        depths: candidates per query.
        rerankers: the systems compared, in the order of the tables.
        measures: ir_measures' names or trec_eval's, `Q`, `module:function` of one's own, or the preset
            `trec-dl`, whose AP, RR and recall count grades 2 and 3 as TREC's deep learning tracks do; the
            first is the headline. By default those of a dataset's suite, if it has one.
        protocol: how time is measured.
        limit: number of queries of each dataset to use, the first ones; of a suite, their number in all,
            shared out over its datasets, and one of each at least.
        count_operations: number of queries to rank once more, untimed, to count FLOPs and bytes by stage. If
            it is set later, finished cells are counted and not measured again.
        budget: dollars that calls of endpoints may cost, earlier runs into the same folder with a budget
            included; the run stops before it is exceeded.
        store_text: whether to keep passage texts in the result folder; false where a licence forbids it.
        out: the result folder; by default `runs/<name>`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    datasets: Annotated[list[Data], BeforeValidator(as_list), Field(min_length=1)]
    first_stages: Annotated[list[FirstStageSpec], BeforeValidator(as_list)] = []
    depths: Annotated[
        list[Annotated[int, Field(ge=1, le=MOST_CANDIDATES)]],
        BeforeValidator(as_list),
        Field(min_length=1),
    ] = [100]
    rerankers: Annotated[
        list[Annotated[RerankerSpec, BeforeValidator(_as_mapping)]],
        BeforeValidator(as_list),
        Field(min_length=1),
    ]
    measures: Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)] = list(DEFAULT_MEASURES)
    protocol: ProtocolSpec = ProtocolSpec()
    limit: int | None = Field(default=None, ge=1)
    count_operations: int = Field(default=0, ge=0)
    budget: float | None = Field(default=None, gt=0)
    store_text: bool = True
    out: str | None = None

    @property
    def entries(self) -> list[tuple[DatasetEntry, int | None]]:
        """Every dataset, those of suites included, with the number of its queries to use; None for all."""
        entries: list[tuple[DatasetEntry, int | None]] = []
        for data in self.datasets:
            if isinstance(data, SuiteSpec):
                members = data.members()
                entries += zip(members, spread(self.limit, len(members)), strict=True)
            else:
                entries.append((data, self.limit))
        return entries

    def measures_of(self, dataset: DatasetEntry) -> tuple[str, ...]:
        """Return the names of a dataset's measures: the experiment's if it states any, else its own."""
        is_stated = "measures" in self.model_fields_set or not dataset.measures
        return tuple(self.measures if is_stated else dataset.measures)

    @model_validator(mode="after")
    def _every_dataset_has_a_first_stage(self) -> Experiment:
        """Raise ValueError if a dataset has no first stage, its own or the experiment's."""
        lacking = [entry for entry, _ in self.entries if not (self.first_stages or entry.first_stages)]
        if lacking:
            name = lacking[0].name or lacking[0].id or lacking[0].folder or lacking[0].candidates
            raise ValueError(f"the key 'first_stages' is missing, and {name} has none of its own; add it")
        return self

    @model_validator(mode="after")
    def _instructions_differ_by_reranker(self) -> Experiment:
        """Raise ValueError if two entries are the same data with different instructions."""
        stated: dict[str, str | None] = {}
        for dataset, _ in self.entries:
            data = json.dumps(dataset.identity(), sort_keys=True)
            if stated.setdefault(data, dataset.instruction) != dataset.instruction:
                raise ValueError(
                    "two datasets are the same data with different instructions. Give the reranker's option "
                    "instruction a list of them instead"
                )
        return self


def load_experiment(
    path: Path, overrides: Sequence[str] = (), text: str | None = None
) -> tuple[Experiment, dict[str, Any]]:
    """Read and validate an experiment file, every reranker's options included.

    Args:
        path: the file.
        overrides: `key=value` assignments, applied before validation.
        text: the experiment as YAML, in place of a file's; `path` then names it in errors.

    Returns:
        the experiment, with paths relative to the working folder; and the file's values as written, overrides
        included.

    Raises:
        InputError: anything is wrong with it: `file:line: what`.
    """
    expected = "an experiment is a mapping: name, datasets, first_stages, rerankers"
    file, written = opened(path, overrides, expected, text)
    base = folder_of(path)
    content = {**written}
    try:
        for section in ("datasets", "first_stages", "rerankers"):
            if section in content:
                content[section] = located(content[section], base, "")
        if isinstance(content.get("out"), str):
            content["out"] = located(content["out"], base, "path")
        experiment = Experiment.model_validate(content)
    except InputError as error:  # a path that no file can have
        raise InputError.at(path, None, str(error)) from error
    except ValidationError as error:
        raise explained(file, error, Experiment) from error
    _check_first_stages(file, experiment)
    _check_rerankers(file, experiment)
    if "measures" in experiment.model_fields_set:  # else those of a suite may be used
        experiment = experiment.model_copy(update={"measures": _measures(file, experiment)})
    return experiment, file.content


def find_experiment(name: str) -> Path:
    """Return the path of an experiment file, given its path or the name of a ready experiment.

    Raises:
        InputError: there is neither.
    """
    return settings_file(name, READY, "experiment")


def _measures(file: MarkedYaml, experiment: Experiment) -> list[str]:
    """Return the experiment's measures as ir_measures prints them, presets expanded, without repetitions."""
    names: dict[str, None] = {}
    for index, name in enumerate(experiment.measures):
        try:
            names |= dict.fromkeys(expand(name))
        except InputError as error:
            raise file.error(("measures", index), str(error)) from error
    return list(names)


def _check_first_stages(file: MarkedYaml, experiment: Experiment) -> None:
    """Raise InputError at the file's line if a first stage's pipeline, name or options are wrong."""
    for index, spec in enumerate(experiment.first_stages):
        for part in components_of(spec):
            if isinstance(part, PyTerrier):
                try:
                    check_pipeline(part.pipeline)
                except InputError as error:
                    raise file.error(("first_stages", index, "pipeline"), str(error)) from error
            elif isinstance(part, Named):
                try:
                    validated_first_stage(part.name, part.options)
                except InputError as error:
                    inside = ("options",) if isinstance(error, OptionError) and part is spec else ()
                    raise file.error(("first_stages", index, *inside), str(error)) from error


def _check_rerankers(file: MarkedYaml, experiment: Experiment) -> None:
    """Raise InputError at the file's line if a reranker's name, options, levels or labels are wrong."""
    labels: dict[str, int] = {}
    for index, spec in enumerate(experiment.rerankers):
        location: Location = ("rerankers", index)
        try:
            model = registry.options_model(spec.name)
        except InputError as problem:
            raise file.error((*location, "name"), str(problem)) from problem
        for option in spec.options:
            if option not in model.option_names():
                error = UnknownNameError(f"option of {spec.name}", option, model.option_names())
                raise file.error((*location, "options", option), str(error))
            if option != SEED and spec.vary and is_sweep(option, spec.options[option], model):
                reason = f"{option} is a sweep, which would be crossed with vary. List its values under vary"
                raise file.error((*location, "options", option), reason)
            if spec.options[option] == [] and not model.takes_list(option):
                raise file.error((*location, "options", option), "a sweep needs at least one value")
        _check_vary(file, location, spec, model)
        for option in re.findall(r"\{(\w+)\}", spec.label or ""):
            if option not in {**spec.options, **spec.vary}:
                raise file.error((*location, "label"), f"{{{option}}} is not one of its options")
        for label, options in spec.variants():
            _check_options(file, location, spec, options, experiment)
            if label in labels:
                raise file.error(
                    location, f"two systems are called {label!r}; give one of them another label"
                )
            labels[label] = index


def _check_vary(file: MarkedYaml, location: Location, spec: RerankerSpec, model: type[MethodOptions]) -> None:
    """Raise InputError if `vary` names an unknown option, or one whose base value is needed and missing."""
    for option, levels in spec.vary.items():
        inside = (*location, "vary", option)
        if option not in model.option_names():
            error = UnknownNameError(f"option of {spec.name}", option, model.option_names())
            raise file.error(inside, str(error))
        if option not in spec.options and model.is_needed(option):
            raise file.error(inside, f"the base has no {option}. Give its own under options")
        if model.takes_list(option) and not all(isinstance(level, list) for level in levels):
            raise file.error(inside, f"{option} is itself a list, so levels are lists in a list")


def _check_options(
    file: MarkedYaml,
    location: Location,
    spec: RerankerSpec,
    options: Mapping[str, Any],
    experiment: Experiment,
) -> None:
    """Raise InputError if one system's options are wrong, or contradict the budget or the served mode."""
    name = spec.name
    try:
        needs = registry.validated(name, options)
    except OptionError as error:
        section = "vary" if error.option in spec.vary else "options"
        inside = (*location, section, error.option) if error.option in options else location
        raise file.error(inside, str(error)) from error
    except InputError as error:
        raise file.error((*location, "options"), str(error)) from error
    if experiment.budget is not None and not needs.is_priced:
        raise file.error(
            location, f"{name}: the price of its calls is not known, so the budget cannot be kept. Set price"
        )
    is_served = experiment.protocol.served is not None
    if is_served and needs.is_remote and needs.is_replayed:
        raise file.error(location, "a served endpoint is measured, not replayed; leave recording out")
