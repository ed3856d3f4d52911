"""Estimates the size of an experiment's requests from texts on this machine, for estimates before a run."""

from __future__ import annotations

from itertools import islice
from statistics import fmean
from typing import TYPE_CHECKING

from benchmarks.candidates.pool_folder import load_pool, read_index
from benchmarks.datasets.sources import open_dataset
from rerankers.errors import DamagedError
from rerankers.text.words import split_words
from rerankers.work import RequestSize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from benchmarks.candidates.frozen import Pool
    from benchmarks.experiments.plan import PoolPlan

SAMPLE = 500
"""Passages that are read; a mean over them is within a few per cent."""
ASCII_PER_TOKEN = 4.5
"""Characters of English, spaces included: an MS MARCO passage has 336 of them and 75 tokens."""
OTHERS_PER_TOKEN = 2.0
"""Letters of other alphabets: tokenizers know fewer of their words."""
UNSPACED_FROM = "\u2e80"
"""From here on, scripts without spaces, with about a token a character."""


def request_size(pool: PoolPlan, folder: Path) -> RequestSize:
    """Return the mean size of a candidate set's requests, in candidates and tokens.

    Sizes are estimated from the texts of a candidate set of the same dataset in `folder`, of any limit, or
    else from the first passages of a dataset on this machine. Without texts, a passage has MS MARCO's length.
    Nothing is downloaded.
    """
    queries, passages = _texts(pool, folder)
    usual = RequestSize(pool.depth)
    if not passages:
        return usual
    words = sum(len(split_words(text)) for text in passages)
    tokens = [estimated_tokens(text) for text in passages]
    return RequestSize(
        candidates=pool.depth,
        query_tokens=fmean(map(estimated_tokens, queries)) if queries else usual.query_tokens,
        passage_tokens=fmean(tokens),
        tokens_per_word=sum(tokens) / words if words else usual.tokens_per_word,
    )


def estimated_tokens(text: str) -> float:
    """Estimate the number of tokens of a text from the scripts of its characters, for any tokenizer."""
    ascii_count = sum(character.isascii() for character in text)
    unspaced = sum(character >= UNSPACED_FROM for character in text)
    others = len(text) - ascii_count - unspaced
    return ascii_count / ASCII_PER_TOKEN + others / OTHERS_PER_TOKEN + unspaced


def _texts(pool: PoolPlan, folder: Path) -> tuple[list[str], list[str]]:
    """Return queries and up to `SAMPLE` passages of a planned candidate set.

    Empty if none are on this machine.
    """
    for frozen in _frozen(pool, folder):
        candidates = (candidate for query_id in frozen.queries for candidate in frozen.candidates[query_id])
        passages = [candidate.text for candidate in islice(candidates, SAMPLE)]
        if any(passages):
            return list(frozen.queries.values()), passages
    if pool.dataset.id not in (None, "bundled"):
        return [], []
    dataset = open_dataset(pool.dataset)
    return list(dataset.queries.values()), [text for _, text in islice(dataset.documents(), SAMPLE)]


def _frozen(pool: PoolPlan, folder: Path) -> Iterator[Pool]:
    """Yield stored candidate sets of the planned dataset, first the planned one itself if it is stored."""
    index = read_index(folder / "pools")
    digests: Iterable[str] = dict.fromkeys(filter(None, [index.get(pool.key), *index.values()]))
    for digest in digests:
        try:
            frozen = load_pool(folder / "pools" / digest)
        except DamagedError:
            continue
        if frozen.dataset == pool.dataset_name:
            yield frozen
