"""Lists the names that an experiment may use, one line each."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.first_stages.specs import FirstStageSpec


def rerankers() -> Iterator[str]:
    """Yield every registered reranker with its options."""
    from rerankers.registry import METHODS, options_model

    for name in METHODS:
        model = options_model(name)
        yield f"{name:18}{model.summary}"
        if options := model.option_names():
            named = [f"{each} (needed)" if model.is_needed(each) else each for each in options]
            yield f"{'':18}options: {', '.join(named)}"
    yield f"{'module:Class':18}a reranker of your own, installed or in a file of the working folder"


def reranker(name: str) -> Iterator[str]:
    """Yield a reranker's summary and each of its options: default, type and meaning.

    Raises:
        UnknownNameError: no reranker has this name.
    """
    from rerankers.option_docs import describe_options
    from rerankers.registry import options_model

    yield f"{name}: {options_model(name).summary}"
    for option in describe_options(name):
        yield f"\n  {option.name}: {option.default}    ({option.type})"
        if option.meaning:
            yield from textwrap.wrap(option.meaning, 96, initial_indent="      ", subsequent_indent="      ")


def encoders() -> Iterator[str]:
    """Yield encoders whose pooling and prefixes are known; others are read from their own folder."""
    import rerankers.encoders

    path = Path(rerankers.encoders.__path__[0]) / "presets.toml"
    for name, preset in tomllib.loads(path.read_text(encoding="utf-8")).items():
        settings = ", ".join(f"{key}: {value!r}" for key, value in preset.items())
        yield f"{name:44}{settings}"


def datasets() -> Iterator[str]:
    """Yield the built-in collection and every id of ir_datasets."""
    from benchmarks.datasets.sources import dataset_ids

    yield from dataset_ids()


def suites() -> Iterator[str]:
    """Yield the ready suites, each with the number of its datasets and its summary."""
    from benchmarks.experiments.suites import find_suite, suite_names

    for name in suite_names():
        page, _ = find_suite(name)
        count = len(page.datasets)
        yield f"{name:14}{page.summary}{f' ({count} datasets)' if count > 1 else ''}"


def suite(name: str) -> Iterator[str]:
    """Yield what a suite consists of: its datasets, first stages, measures and citation.

    Raises:
        UnknownNameError: there is no such suite.
    """
    from benchmarks.experiments.suites import SuiteSpec, find_suite

    page, _ = find_suite(name)
    members = SuiteSpec(suite=name).members()
    yield f"{name}: {page.summary}"
    yield f"  {page.citation}"
    for member in members:
        stages = " and ".join(_first_stage(stage) for stage in member.first_stages)
        where = member.id or member.candidates or member.folder
        more = f"; part of {member.part_of}" if member.part_of else ""
        more += f"; exclude {member.exclude}" if member.exclude else ""
        yield f"\n  {member.name}: {where}; {stages}; {', '.join(member.measures)}{more}"
        if member.instruction:
            yield from textwrap.wrap(
                member.instruction, 96, initial_indent="      ", subsequent_indent="      "
            )


def _first_stage(stage: FirstStageSpec) -> str:
    options = stage.model_dump(exclude={"kind"}, exclude_defaults=True)
    named = ", ".join(f"{key} {value}" for key, value in options.items())
    return f"{stage.kind} ({named})" if named else stage.kind


def measures() -> Iterator[str]:
    """Yield measures that can be computed here, with a cutoff where they need one, and the presets."""
    from benchmarks.evaluation.functions.registry import MEASURES, summary_of_measure
    from benchmarks.evaluation.measure_names import PRESETS
    from benchmarks.evaluation.measures import computable

    for name, kind in computable():
        summary = " ".join((kind.__doc__ or "").split()).partition(". ")[0]
        yield f"{name:18}{summary}"
    for name in MEASURES:
        yield f"{name:18}{summary_of_measure(name)}"
    for name, measures in PRESETS.items():
        yield f"{name:18}Stands for {', '.join(measures)}"


def experiments() -> Iterator[str]:
    """Yield ready experiments, with the first line of their comment."""
    folder = Path(__file__).parents[1] / "configs"
    for path in sorted(folder.glob("*.yaml")):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        yield f"{path.stem:18}{first.removeprefix('#').strip()}"
