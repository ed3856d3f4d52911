"""Lists the names that an experiment may use, one line each."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def rerankers() -> Iterator[str]:
    """Every registered reranker with its options."""
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


def measures() -> Iterator[str]:
    """Measures that can be computed here, with a cutoff where they need one, and the presets."""
    from benchmarks.evaluation.measure_names import PRESETS
    from benchmarks.evaluation.measures import computable

    for name, kind in computable():
        summary = " ".join((kind.__doc__ or "").split()).partition(". ")[0]
        yield f"{name:18}{summary}"
    for name, measures in PRESETS.items():
        yield f"{name:18}Stands for {', '.join(measures)}"


def experiments() -> Iterator[str]:
    """Ready experiments, with the first line of their comment."""
    folder = Path(__file__).parents[1] / "configs"
    for path in sorted(folder.glob("*.yaml")):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        yield f"{path.stem:18}{first.removeprefix('#').strip()}"
