"""Writes the model card of a checkpoint: `README.md` as the Hugging Face hub reads it.

The front matter follows the hub's documentation of model cards (`base_model`, `license`, `datasets`,
`pipeline_tag`, `tags`). Keys whose value is not known are left out, and so is `base_model` of models that are
not on the hub: it would lead nowhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import yaml

from rerankers.training.checkpoints.provenance import common_licence
from rerankers.training.reconstruction import MEASURES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.training.checkpoints.provenance import BaseModel, DataSource

CARD = "README.md"

_ID = re.compile(r"[\w.-]+(/[\w.-]+){0,3}")  # what the hub takes as the name of a dataset


@dataclass(frozen=True, slots=True)
class Usage:
    """The reranker and the options that load a checkpoint.

    Attributes:
        title: name of the method, such as `PE-Rank`.
        reranker: registered name of the reranker that loads it.
        options: options of that reranker beside `model`.
        tags: for the hub's search.
        note: a sentence on what it is for; empty for none.
    """

    title: str
    reranker: str
    options: Mapping[str, object] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Scores:
    """nDCG@10 on held-out lists by step, and values to compare it with.

    Attributes:
        by_step: of every evaluation, the one before the first step (0) included.
        lists: how many lists there are.
        chance: expected of random orders.
        best_step: step of the checkpoint with the best score; None where nothing was evaluated.
        rebuilt: of held-out passages by step; see `rerankers.training.reconstruction.MEASURES`.
    """

    by_step: Mapping[int, float]
    lists: int
    chance: float | None
    best_step: int | None
    rebuilt: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


def model_card(
    usage: Usage,
    models: Sequence[BaseModel],
    training: Mapping[str, Any],
    sources: Sequence[DataSource],
    scores: Scores,
    command: str | None,
) -> str:
    """Return the text of a checkpoint's model card (Markdown); the same for equal arguments.

    Args:
        usage: the reranker that loads the checkpoint.
        models: those it was made from.
        training: its provenance: stage, settings, data digests, step, losses.
        sources: of its training data.
        scores: on held-out lists.
        command: that trained it; None where no command did.
    """
    parts = [
        f"---\n{_yaml(_front_matter(usage, models, sources))}---",
        f"# {_title(usage, models)}",
        f"Trained by rerankbench {_own_version()}, stage `{training['stage']}`. {usage.note}".rstrip(),
        f"## Use\n\n{_use(usage)}",
        f"## Models\n\n{_models(models)}",
        f"## Data\n\n{_data(training, sources)}",
        f"## Scores\n\n{_scores(training, scores)}",
    ]
    if command is not None:
        parts.append(f"## Command\n\n```sh\n{command}\n```")
    parts.append(f"## Settings\n\n```yaml\n{_yaml(training['settings'])}```")
    return "\n\n".join(parts) + "\n"


def _front_matter(
    usage: Usage, models: Sequence[BaseModel], sources: Sequence[DataSource]
) -> dict[str, object]:
    """Return the model card's front matter as a mapping, keys without a known value left out."""
    bases = [model.hub_id for model in models if model.hub_id is not None]
    datasets = list(dict.fromkeys(source.dataset.partition(" ")[0] for source in sources if source.dataset))
    licence = common_licence(models)
    return {
        **({"base_model": bases} if bases else {}),
        **({"license": licence} if licence else {}),
        **({"datasets": ids} if (ids := [name for name in datasets if _ID.fullmatch(name)]) else {}),
        "library_name": "rerankbench",
        "pipeline_tag": "text-ranking",
        "tags": ["reranker", "rerankbench", *usage.tags],
    }


def _title(usage: Usage, models: Sequence[BaseModel]) -> str:
    """Return the model card's title, such as "PE-Rank on Qwen3-0.6B with bge-base"."""
    names = [model.name.removeprefix("pypi:").rstrip("/").rpartition("/")[2] for model in models]
    return _line(f"{usage.title} on {' with '.join(names)}")


def _use(usage: Usage) -> str:
    """Return the text of the model card's section on use: the command that reranks with the checkpoint."""
    options = " ".join(f"--option {key}={value}" for key, value in {"model": ".", **usage.options}.items())
    return (
        "In this folder; elsewhere, `model` is the folder's path or its name on the hub:\n\n"
        f"```sh\nrerankbench rerank --reranker {usage.reranker} {options} \\\n"
        "    --candidates hits.jsonl --output run.trec\n```"
    )


def _models(models: Sequence[BaseModel]) -> str:
    """Return the text of the model card's section on models: a table of role, name, revision and licence."""
    rows = [
        (model.role, _code(model.name), _code(model.revision), model.licence or "not known")
        for model in models
    ]
    return _table(("role", "name", "revision or fingerprint", "licence"), rows)


def _data(training: Mapping[str, Any], sources: Sequence[DataSource]) -> str:
    """Return the text of the model card's section on data: file digests, origin and teacher of lists."""
    names = training["settings"]["data"]
    rows = [(key, _code(names[key]), _code(value)) for key, value in training["data_sha256"].items()]
    lines = [_table(("use", "file", "sha256"), rows)]
    for source in sources:
        dataset = (
            f"from {_code(source.dataset)}" if source.dataset else "of a dataset that the file does not name"
        )
        model = source.options.get("model")
        teacher = f"{_code(source.teacher)}{f' with {_code(model)}' if model else ''}"
        lines.append(f"Lists {dataset}, ordered by {teacher if source.teacher else 'an unnamed teacher'}.")
    return "\n\n".join(lines)


def _scores(training: Mapping[str, Any], scores: Scores) -> str:
    """Return the text of the model card's section on scores.

    It shows nDCG@10 at the first, last and best step, or the measures of rebuilt passages.
    """
    summary = f"This folder holds step {training['step']} of {training['steps']}."
    losses = ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in training["losses"].items()
        if isinstance(value, float) and name not in ("learning_rate", "epoch")
    )
    summary += f" Its last line of the log: {losses}." if losses else ""
    if scores.rebuilt:
        return f"Held-out passages, rebuilt from their embeddings:\n\n{_rebuilt(scores.rebuilt)}\n\n{summary}"
    if not scores.by_step:
        return f"{summary} It was not evaluated while it was trained."
    first, last = min(scores.by_step), max(scores.by_step)
    kinds = {first: "first", last: "last"}
    best = scores.best_step
    if best is not None and best in scores.by_step:
        kinds[best] = f"{kinds[best]}, best" if best in kinds else "best"
    rows = [(str(step), f"{scores.by_step[step]:.4f}", kinds[step]) for step in sorted(kinds)]
    chance = "" if scores.chance is None else f"; a random order is expected to have {scores.chance:.4f}"
    return (
        f"nDCG@10 against the order of {scores.lists} held-out lists{chance}. It says how well the order is "
        f"learnt, not how well the checkpoint ranks for people.\n\n"
        f"{_table(('step', 'nDCG@10', ''), rows)}\n\n{summary}"
    )


def _rebuilt(by_step: Mapping[int, Mapping[str, float]]) -> str:
    """Return a table of the measures of rebuilt passages at the first and the last step."""
    first, last = by_step[min(by_step)], by_step[max(by_step)]
    rows = [
        (meaning, f"{first[name]:.4g}" if name in first else "", f"{last[name]:.4g}")
        for name, meaning in MEASURES.items()
    ]
    return _table(("", f"step {min(by_step)}", f"step {max(by_step)}"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table of a head and rows of cells."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_line(cell).replace('|', '&#124;') for cell in row)} |" for row in lines)


def _code(value: object) -> str:
    """Return a value as Markdown code; "not known" for None."""
    return "not known" if value is None else f"`{str(value).replace('`', ' ')}`"


def _line(text: str) -> str:
    """Return a text as one line, with `<` escaped, so that it holds no HTML."""
    return " ".join(text.split()).replace("<", "&lt;")


def _yaml(value: object) -> str:
    """Return a value as YAML text."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)


def _own_version() -> str:
    """Return the version of this package, as installed."""
    try:
        return version("rerankbench")
    except PackageNotFoundError:
        return "(not installed)"
