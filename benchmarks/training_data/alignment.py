"""Writes alignment data of PE-Rank: to restate the passage behind one embedding (arXiv 2406.14848, 3.4).

Any collection will do: a passage is its own target. The file has the published form, see
`rerankers.training.data.records`; the phrasings of the request are data, `alignment_prompts.txt`.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

from rerankers.errors import InputError
from rerankers.files.writing import atomic_file
from rerankers.pe_rank.prompt import PLACEHOLDER
from rerankers.progress import Activity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.datasets.dataset import Dataset


def phrasings() -> list[str]:
    """Return the phrasings of the request to restate a passage, each with one passage placeholder."""
    text = Path(__file__).with_name("alignment_prompts.txt").read_text(encoding="utf-8")
    return [line.replace("{passage}", PLACEHOLDER) for line in text.splitlines() if line]


def write_alignment(dataset: Dataset, out: Path, limit: int | None, words: int, seed: int) -> int:
    """Write one alignment record per passage to a file, and return their number.

    The file appears only when it is complete.

    Args:
        dataset: its passages; those without text are left out.
        out: the JSON lines file.
        limit: number of passages, drawn at random if the dataset's size is known, else the first ones.
        words: longer passages are cut after this many words.
        seed: seed of the draw and of the phrasings.

    Raises:
        InputError: nothing is left to write, or a number is not positive.
    """
    for name, value in (("--limit", limit), ("--words", words)):
        if value is not None and value < 1:
            raise InputError(f"{name} {value}: give a positive number")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent}: no such folder for the output; make it first")
    requests = phrasings()
    generator = random.Random(seed)  # noqa: S311 - sampling, not secrets
    written = 0
    total = limit or dataset.passage_count or 0
    with atomic_file(out) as file, Activity("alignment data", total) as progress:
        for text in _drawn(dataset, limit, generator):
            request = generator.choice(requests)
            passage = " ".join(text.split()[:words])
            if passage and PLACEHOLDER not in passage:
                messages = [{"role": "user", "content": request}, {"role": "assistant", "content": passage}]
                row = {"messages": messages, "extra_texts": [passage]}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                written += 1
            progress.advance()
        if not written:
            raise InputError(f"{dataset.name} has no passage with text")
    return written


def _drawn(dataset: Dataset, limit: int | None, generator: random.Random) -> Iterator[str]:
    """Yield the texts of `limit` random passages of a dataset, in its order; of all without a limit.

    If the dataset's size is unknown, they are the first passages.
    """
    count = dataset.passage_count
    if limit is None or count is None:
        chosen = None
    else:
        chosen = set(generator.sample(range(count), min(limit, count)))
    count_yielded = 0
    for position, (_, text) in enumerate(dataset.documents()):
        if chosen is None or position in chosen:
            if count_yielded == limit:
                return
            count_yielded += 1
            yield text
