"""Visits go through all records in an order that nothing disturbs; batches are what the model reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rerankers.errors import InputError
from rerankers.pe_rank.projector import untrained_projector
from rerankers.pe_rank.prompt import PromptTemplate, PromptWriter
from rerankers.training.data.batches import Collator, Visits
from rerankers.training.data.examples import ListChoice, RankingExamples
from rerankers.training.data.records import RankingRecord
from rerankers.training.data.vectors import TextRows
from rerankers.training.evaluation import Validation
from rerankers.training.measures import HeldOutLists, gold_ndcg
from rerankers.training.model import Objective, TrainableRanker

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., RankingExamples]

COUNTS = [5, 3, 4, 5, 5, 2, 5, 4, 5, 3]
RECORDS = [
    RankingRecord(
        " ".join(["frost"] * (1 + number % 4)),
        tuple(f"passage {number} {place}" for place in range(count)),
        tuple(np.random.default_rng(number).permutation(count).tolist()),
    )
    for number, count in enumerate(COUNTS)
]
TEMPLATE = PromptTemplate(
    prefix="Query: {query}\n", passage=" <PLACEHOLDER>", passage_with_text=" <PLACEHOLDER> {text}", suffix=":"
)


@pytest.fixture
def writer(tiny_llm: str) -> PromptWriter:
    return PromptWriter(AutoTokenizer.from_pretrained(tiny_llm), TEMPLATE)


@pytest.fixture
def make(writer: PromptWriter) -> Make:
    def make(size: int | None = None, shuffle: bool = False, max_length: int = 500) -> RankingExamples:
        return RankingExamples(
            RECORDS,
            writer,
            TextRows(),
            None,
            ListChoice(size, shuffle),
            with_text=False,
            without_passages=False,
            own_messages=False,
            max_length=max_length,
        )

    return make


def test_an_epoch_visits_every_record_once_and_the_next_in_another_order(make: Make) -> None:
    visits = Visits(make(), batch_size=2, step_size=2, steps=10, seed=0)
    first_passages = [int(visits[number][1].passages[0]) for number in range(len(visits))]
    starts = sorted(int(total) for total in np.cumsum([0, *COUNTS[:-1]]))
    assert sorted(first_passages[:10]) == starts
    assert sorted(first_passages[10:]) == starts
    assert first_passages[:10] != first_passages[10:]


def test_a_visit_is_the_same_whenever_it_is_made(make: Make) -> None:
    early = Visits(make(shuffle=True), batch_size=2, step_size=4, steps=6, seed=3)
    late = Visits(make(shuffle=True), batch_size=2, step_size=4, steps=6, seed=3)
    for number in reversed(range(len(early))):
        assert np.array_equal(early[number][1].sequence.sources, late[number][1].sequence.sources)


def test_gold_order_follows_the_passages_that_are_shown(make: Make) -> None:
    examples = make(size=3, shuffle=True)
    for seed in range(20):
        example = examples.visit(0, np.random.default_rng(seed))
        assert example.gold is not None
        places = [RECORDS[0].ranking.index(int(row)) for row in example.gold]
        assert places == sorted(places)
        assert sorted(example.gold) == sorted(example.passages)
        assert len(example.passages) == 3


def test_a_batch_holds_each_passage_once_and_points_to_it(make: Make) -> None:
    vectors = np.arange(sum(COUNTS), dtype=np.float32)[:, None].repeat(2, axis=1)
    visits = Visits(make(), batch_size=4, step_size=4, steps=2, seed=0)
    batch = Collator(vectors, None, pool=6, seed=0)([visits[number] for number in (0, 1, 2, 0)])
    rows = batch["vectors"][:, 0]
    assert len(set(rows.tolist())) == len(rows)
    for row, number in enumerate((0, 1, 2, 0)):
        example = visits[number][1]
        assert example.gold is not None
        length = int(batch["lengths"][row])
        assert rows[batch["gold"][row, :length]].tolist() == example.gold.tolist()
        sources = batch["sources"][row]
        assert rows[sources[sources >= 0]].tolist() == [*example.passages, *example.gold[:-1]]
        assert int(batch["ends"][row]) == len(example.sequence.token_ids) - length


def test_a_list_that_is_too_long_is_told(make: Make) -> None:
    with pytest.raises(InputError, match=r"record 1: needs \d+ tokens"):
        make(max_length=10)


def test_gold_ndcg_counts_the_first_ten_gold_places() -> None:
    assert gold_ndcg([2, 0, 1], [2, 0, 1]) == 1.0
    assert gold_ndcg(list(range(20)), list(range(20))) == 1.0
    # two passages with gains 10 and 9, swapped
    ideal = 10 + 9 / np.log2(3)
    assert gold_ndcg([1, 0], [0, 1]) == pytest.approx((9 + 10 / np.log2(3)) / ideal)


def test_decoding_by_forward_passes_alone_scores_the_same(writer: PromptWriter, tiny_llm: str) -> None:
    llm: Any = AutoModelForCausalLM.from_pretrained(
        tiny_llm, dtype=torch.float32, attn_implementation="eager"
    )
    vectors = np.random.default_rng(0).normal(size=(sum(COUNTS), 8)).astype(np.float32)
    projector = untrained_projector(8, llm.get_input_embeddings().weight)
    model = TrainableRanker(llm, projector, Objective()).train()
    ends = np.cumsum(COUNTS)
    validation = Validation(
        [writer.write(record.query, len(record.passages)) for record in RECORDS],
        [np.arange(end - count, end) for end, count in zip(ends, COUNTS, strict=True)],
        HeldOutLists.of(RECORDS),
        vectors,
        writer,
        batch_size=3,
    )
    orders = validation.orders(model)
    assert validation.lists.measure(orders)["ndcg@10"] < 1
    assert model.training
    assert validation.orders_by_forward(model, torch.device("cpu")) == orders
