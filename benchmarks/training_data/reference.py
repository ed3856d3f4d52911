"""Generates the pages about training from the code: every key of the settings, and every data format.

`python -m benchmarks.training_data.reference settings > docs/training-settings.md`, and likewise `data` for
`docs/training-data.md`.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.experiments.key_tables import key_table, nested_models, summary_of
from benchmarks.training_data.distillation_settings import Distillation
from rerankers.training.cross_encoder.settings import CrossEncoderSettings
from rerankers.training.e2rank.settings import E2RankSettings
from rerankers.training.settings import STAGES
from rerankers.training.text.settings import TextSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

_SETTINGS = """\
# Every key of training and its data

Written by `python -m benchmarks.training_data.reference settings`; a test keeps it true. A settings file is
YAML of these keys. Unknown keys are refused with the line and a near miss, and so is a value out of bounds.
Relative paths start at the file's folder. `--set KEY=VALUE` changes any of them for one run, as in
`--set optimizer.learning_rate=1e-4 seed=1`. An empty default means that the key may be left out.
"""

_DATA = """\
# Formats of training data

Written by `python -m benchmarks.training_data.reference data`; a test keeps it true, and reads every example
with the reader that the commands use. All files may be compressed with gzip, bzip2 or xz. A wrong line is
refused with its number.
"""


class Format(NamedTuple):
    """A format of training data.

    Attributes:
        title: heading on the page.
        about: description, in sentences.
        files: text of each example file, by file name.
    """

    title: str
    about: str
    files: Mapping[str, str]


def data_formats() -> dict[str, Format]:
    """Return the formats of training data by name, in the order of the page."""
    listed = tomllib.loads(Path(__file__).with_name("formats.toml").read_text(encoding="utf-8"))
    return {name: Format(**described) for name, described in listed.items()}


def data() -> str:
    """Return the Markdown page on data formats."""
    parts = [_DATA]
    for described in data_formats().values():
        parts.append(f"## {described.title}\n\n{described.about.strip()}\n")
        for name, text in described.files.items():
            parts.append(f"`{name}`:\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts).rstrip("\n")


def settings() -> str:
    """Return the Markdown page on settings of training."""
    rank = STAGES["rank"]
    roots: list[tuple[str, type[BaseModel]]] = [
        ("rerankbench train", rank),
        ("rerankbench train text", TextSettings),
        ("rerankbench train cross-encoder", CrossEncoderSettings),
        ("rerankbench train e2rank", E2RankSettings),
        ("rerankbench distill", Distillation),
    ]
    tables: dict[type[BaseModel], str] = {}
    for heading, root in roots:
        tables[root] = heading
        for model in nested_models(root):
            tables.setdefault(model, model.__name__)
    parts = [_SETTINGS]
    for model, heading in tables.items():
        parts.append(f"## {heading}\n\n{summary_of(model)}\n")
        parts.append("\n".join(key_table(model, tables)))
        if model is rank:
            parts.append("\n".join(_stages()))
    return "\n".join(parts).rstrip("\n")


def _stages() -> Iterator[str]:
    """Yield the lines of a table of defaults that differ between stages."""
    values = {stage: dict(_flat(model.stage_defaults)) for stage, model in STAGES.items()}
    keys = list(dict.fromkeys(key for defaults in values.values() for key in defaults))
    yield "Defaults that depend on the stage, in place of those in the tables:\n"
    yield f"| key | {' | '.join(values)} |\n|---|{'---|' * len(values)}"
    for key in keys:
        cells = (f"`{defaults[key]}`" if key in defaults else "" for defaults in values.values())
        yield f"| `{key}` | {' | '.join(cells)} |"
    yield ""


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of nested mappings."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


if __name__ == "__main__":
    print({"settings": settings, "data": data}[sys.argv[1]]())
