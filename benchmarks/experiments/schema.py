"""Generates the pages on experiment files, result folders and options, from the models that validate them.

`python -m benchmarks.experiments.schema results > docs/result-schema.md`, and likewise `experiments` for
`docs/experiment-files.md` and `rerankers` for `docs/rerankers.md`.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import fields
from typing import TYPE_CHECKING

from pydantic import BaseModel

from benchmarks.experiments.config import Experiment, RerankerSpec
from benchmarks.experiments.json_schema import MODELS
from benchmarks.experiments.key_tables import cell, key_table, meanings_of, summary_of
from benchmarks.results import record
from rerankers import registry
from rerankers.interface import FAULTS, Usage
from rerankers.option_docs import REQUIRED, describe_options
from rerankers.stages import STAGE_MEANINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESULTS = """\
# What a result folder holds

Written by `python -m benchmarks.experiments.schema results`; a test keeps it true. Schema version {version}.

    DIR/experiment.json             the experiment as written, and its cells in order
    DIR/<cell>/record.json          a `Record`
    DIR/<cell>/queries.jsonl        a `QueryRow` for each query and repeat
    DIR/<cell>/ranking.trec         the first repeat's rankings, as a TREC run
    DIR/pools/<digest>/             candidates, judgements and texts, once for all cells that share them
    DIR/judgements/<judge>/         further judgements of each candidate set, a model's or a file's

Raw values only: measures, percentiles and tests are computed when a folder is read. A folder of another
schema version is refused.

The record of a cell that is done seals the cell: it holds the sha256 of the other two files, which are on
the disk before it. A cell that does not match its seal, or that has lost its record, is damaged: `report`,
`table` and `export` name it and count none of its numbers, and the same `run` measures it again. Rows that
match the seal are kept, so that only lost rankings are measured. Files that nothing vouches for are kept as
`*.damaged`. A candidate set that does not match its digest is built again by the same `run`.
"""


EXPERIMENTS = """\
# Experiment files

Written by `python -m benchmarks.experiments.schema experiments`; a test keeps it true. An experiment is a
YAML file of these keys; unknown ones are refused with the line and a near miss. Relative paths start at the
file's folder. What takes a list takes a single value, too. `--set KEY=VALUE` changes any of them for one run,
as in `--set protocol.repeats=3 'depths=[20,100]'`.
"""


RERANKERS = """\
# Options of every reranker

Written by `python -m benchmarks.experiments.schema rerankers`; a test keeps it true.
`rerankbench list rerankers NAME` prints one of these tables. In an experiment file a list in place of a value
is a sweep.
"""


def rerankers() -> str:
    """Return the Markdown page on the options of every reranker."""
    lines = [RERANKERS]
    for name in registry.METHODS:
        summary = registry.options_model(name).summary
        lines.append(f"## {name}\n\n{summary[0].upper()}{summary[1:]}.\n")
        options = describe_options(name)
        if not options:
            lines.append("No options.\n")
            continue
        lines.append("| option | default | value | meaning |\n|---|---|---|---|")
        for option in options:
            default = option.default if option.default == REQUIRED else f"`{option.default}`"
            lines.append(f"| `{option.name}` | {default} | {cell(option.type)} | {cell(option.meaning)} |")
        lines.append("")
    return "\n".join(lines).rstrip("\n")


def experiments() -> str:
    """Return the Markdown page on experiment files."""
    models = (Experiment, RerankerSpec, *MODELS)
    return "\n".join([EXPERIMENTS, *_tables(models)]).rstrip("\n")


def results() -> str:
    """Return the Markdown page on result folders."""
    models: list[type[BaseModel]] = [
        value
        for value in vars(record).values()
        if inspect.isclass(value)
        and issubclass(value, BaseModel)
        and value.__module__ == record.__name__
        and value.__name__[0] != "_"
    ]
    models.sort(key=lambda model: (model is not record.Record, model is not record.QueryRow, model.__name__))
    parts = [RESULTS.format(version=record.SCHEMA_VERSION)]
    return "\n".join([*parts, *_tables(models), *_usage(), *_stages()])


def _tables(models: Sequence[type[BaseModel]]) -> Iterator[str]:
    """Yield a Markdown section with a table of fields for each model, their types linked to each other."""
    links = {model: model.__name__ for model in models}
    for model in models:
        yield f"## {model.__name__}\n\n{summary_of(model)}\n"
        yield from key_table(model, links)


def _usage() -> Iterator[str]:
    """Yield the lines of a Markdown section: a table of the fields of `Usage` and their meanings."""
    yield "## usage\n\nCounts of one ranking; zeros are left out.\n\n| count | |\n|---|---|"
    meanings = meanings_of(Usage) | {"faults": f"by kind: {', '.join(FAULTS)}"}
    for field in fields(Usage):
        yield f"| `{field.name}` | {cell(meanings.get(field.name, ''))} |"
    yield ""


def _stages() -> Iterator[str]:
    """Yield the lines of a Markdown section: a table of the names of stages and their meanings."""
    yield "## stage_seconds\n\n| stage | |\n|---|---|"
    for name, meaning in STAGE_MEANINGS.items():
        yield f"| `{name}` | {cell(meaning)} |"


if __name__ == "__main__":
    print({"results": results, "experiments": experiments, "rerankers": rerankers}[sys.argv[1]]())
