"""Batches hold every input once, longest first, within their budget or evenly spread over the cores."""

from __future__ import annotations

from itertools import chain, pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from rerankers.models.batching import length_sorted_batches

LENGTHS = st.lists(st.integers(1, 600), max_size=60)


@given(lengths=LENGTHS, budget=st.integers(1, 2000), cores=st.integers(1, 5))
def test_batches_hold_every_input_once_longest_first(lengths: list[int], budget: int, cores: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(cores)
        batches = length_sorted_batches(lengths, budget, torch.device("cpu"))
    finally:
        torch.set_num_threads(before)
    order = list(chain.from_iterable(batches))
    assert sorted(order) == list(range(len(lengths)))
    assert all(lengths[a] > lengths[b] or (lengths[a] == lengths[b] and a < b) for a, b in pairwise(order))
    assert all(batches)
    if cores > 1 and len(lengths) > 1:
        share = sum(lengths) / (
            -(-sum(lengths) // (min(cores, len(lengths)) * budget)) * min(cores, len(lengths))
        )
        assert all(sum(lengths[i] for i in batch) <= share + max(lengths) for batch in batches)


@given(lengths=LENGTHS, budget=st.integers(1, 2000))
def test_padded_batches_stay_within_the_budget_of_a_gpu(lengths: list[int], budget: int) -> None:
    for batch in length_sorted_batches(lengths, budget, torch.device("cuda")):
        assert len(batch) == 1 or len(batch) * lengths[batch[0]] <= budget
