"""Lists names that an experiment may use, for `rerankbench list`: functions that yield lines to print."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.first_stages.specs import FirstStageSpec


def rerankers() -> Iterator[str]:
    """Yield a line with name and summary, and one with option names, for each registered reranker."""
    from rerankers.registry import METHODS, options_model

    for name in METHODS:
        model = options_model(name)
        yield f"{name:18}{model.summary}"
        if options := model.option_names():
            names = [f"{option} (needed)" if model.is_needed(option) else option for option in options]
            yield f"{'':18}options: {', '.join(names)}"
    yield f"{'module:Class':18}a reranker of your own, installed or in a file of the working folder"


def reranker(name: str) -> Iterator[str]:
    """Yield lines with a reranker's summary and, for each option, default, type and meaning.

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
    """Yield a line for each encoder with preset pooling and prefixes.

    Other encoders' own files state theirs.
    """
    import rerankers.encoders

    path = Path(rerankers.encoders.__path__[0]) / "presets.toml"
    for name, preset in tomllib.loads(path.read_text(encoding="utf-8")).items():
        settings = ", ".join(f"{key}: {value!r}" for key, value in preset.items())
        yield f"{name:44}{settings}"


def datasets() -> Iterator[str]:
    """Yield the built-in collection and every dataset id of ir_datasets."""
    from benchmarks.datasets.ir_collection import dataset_ids

    yield from dataset_ids()


def suites() -> Iterator[str]:
    """Yield a line for each ready suite, with its summary and number of datasets."""
    from benchmarks.experiments.suites import find_suite, suite_names

    for name in suite_names():
        page, _ = find_suite(name)
        count = len(page.datasets)
        yield f"{name:14}{page.summary}{f' ({count} datasets)' if count > 1 else ''}"


def suite(name: str) -> Iterator[str]:
    """Yield lines with a suite's summary, citation and, for each dataset, source, first stages and measures.

    Raises:
        UnknownNameError: no suite has this name.
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
    """Return a first stage's kind with the options that differ from their defaults."""
    options = stage.model_dump(exclude={"kind"}, exclude_defaults=True)
    named = ", ".join(f"{key} {value}" for key, value in options.items())
    return f"{stage.kind} ({named})" if named else stage.kind


def measures() -> Iterator[str]:
    """Yield a line for each measure that can be computed here, then one for each preset."""
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
    """Yield a line for each ready experiment, with the first line of its comment."""
    folder = Path(__file__).parents[1] / "configs"
    for path in sorted(folder.glob("*.yaml")):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        yield f"{path.stem:18}{first.removeprefix('#').strip()}"
