"""Writes the experiment that compares a training's checkpoint with BM25 and the teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rerankers.training.checkpoints.card import Usage
    from rerankers.training.checkpoints.provenance import DataSource

COMPARISON = "compare.yaml"

_HEAD = """\
# BM25, the teacher and what was trained, on the built-in collection. Name a collection of your own in its
# place: a folder in the BEIR layout, an ir_datasets id, or a file of candidates.
#
#     rerankbench run {path}

"""


def write_comparison(folder: Path, checkpoint: Path, usage: Usage, sources: Sequence[DataSource]) -> Path:
    """Write an experiment file, `compare.yaml`, into a training's result folder, and return its path.

    Args:
        folder: result folder of the training.
        checkpoint: the best one in it, or the last.
        usage: the reranker and options that load the checkpoint.
        sources: of the training data; each teacher they name is compared, once.
    """
    path = folder / COMPARISON
    rerankers: list[str | dict[str, Any]] = ["first-stage"]
    for source in sources:
        if source.teacher:
            teacher = {
                "name": source.teacher,
                "label": f"teacher: {source.teacher}",
                "options": source.options,
            }
            rerankers += [teacher] if teacher not in rerankers else []
    options = {"model": f"./{checkpoint.relative_to(folder).as_posix()}", **usage.options}
    rerankers.append({"name": usage.reranker, "label": usage.title, "options": options})
    content = {
        "name": f"compare-{folder.name}",
        "datasets": "bundled",
        "first_stages": "bm25",
        "depths": 20,
        "rerankers": rerankers,
    }
    written = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    replace_file(path, _HEAD.format(path=path.as_posix()) + written)
    return path
