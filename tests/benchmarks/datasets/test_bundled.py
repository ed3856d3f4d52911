"""The built-in collection keeps what its README promises."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from benchmarks.candidates.building import build_pool
from benchmarks.datasets.sources import BUNDLED, open_dataset
from benchmarks.evaluation.measures import evaluate
from benchmarks.first_stages.specs import Bm25
from rerankers import create
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from benchmarks.candidates.frozen import Pool
    from benchmarks.datasets.dataset import Dataset
    from rerankers.interface import Reranker


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return open_dataset("bundled")


def test_it_is_large_enough(dataset: Dataset) -> None:
    assert len(list(dataset.documents())) >= 320
    assert len(dataset.queries) >= 32


def test_passages_have_30_to_120_words_and_differ(dataset: Dataset) -> None:
    texts = [text for _, text in dataset.documents()]
    assert all(30 <= len(text.split()) <= 120 for text in texts)
    assert len(set(texts)) == len(texts)


def test_every_query_has_several_relevant_passages_and_a_perfect_one(dataset: Dataset) -> None:
    assert dataset.qrels.keys() == dataset.queries.keys()
    for grades in dataset.qrels.values():
        assert sum(grade >= 2 for grade in grades.values()) >= 3
        assert 3 in grades.values()
        assert 0 in grades.values()
        assert set(grades.values()) <= {0, 1, 2, 3}


def test_judged_passages_exist_and_ids_say_nothing(dataset: Dataset) -> None:
    doc_ids = [doc_id for doc_id, _ in dataset.documents()]
    assert {doc_id for grades in dataset.qrels.values() for doc_id in grades} <= set(doc_ids)
    assert doc_ids == [f"p{number:03}" for number in range(1, len(doc_ids) + 1)]
    assert list(dataset.queries) == [f"q{number:02}" for number in range(1, len(dataset.queries) + 1)]


def test_the_readme_counts_what_is_there(dataset: Dataset) -> None:
    readme = (BUNDLED / "README.md").read_text(encoding="utf-8")
    texts = [text for _, text in dataset.documents()]
    lengths = [len(text.split()) for text in texts]
    grades = Counter(grade for judged in dataset.qrels.values() for grade in judged.values())
    assert f"| passages | {len(texts)}, of {min(lengths)} to {max(lengths)} words" in readme
    assert f"{sum(lengths):,} words in all" in readme
    assert f"| queries | {len(dataset.queries)}," in readme
    assert f"| judged pairs | {grades.total()}:" in readme
    assert " / ".join(str(grades[grade]) for grade in (3, 2, 1, 0)) in readme


def test_it_is_given_away() -> None:
    assert "CC0-1.0" in (BUNDLED / "LICENSE").read_text(encoding="utf-8")


def test_any_beir_reader_can_use_it() -> None:
    for name, keys in {"corpus.jsonl": {"_id", "title", "text"}, "queries.jsonl": {"_id", "text"}}.items():
        for line in (BUNDLED / name).read_text(encoding="utf-8").splitlines():
            assert json.loads(line).keys() == keys
    header = (BUNDLED / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[0]
    assert re.split("\t", header) == ["query-id", "corpus-id", "score"]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    pytest.importorskip("jnius_config", reason="needs the extra bm25")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RERANKBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return build_pool("bundled", Bm25(), 20)


def quality(pool: Pool, reranker: Reranker | None = None) -> float:
    if reranker is None:
        rankings = {
            query_id: [(hit.doc_id, hit.score) for hit in hits] for query_id, hits in pool.candidates.items()
        }
    else:
        rankings = {
            ranking.query_id: list(zip(ranking.doc_ids, ranking.scores, strict=True))
            for ranking in reranker.rerank(pool.requests(), StageClock())
        }
    values = evaluate(rankings, pool.qrels, ["nDCG@10"])["nDCG@10"]
    return sum(values.values()) / len(values)


@pytest.mark.lucene
def test_bm25_stands_clearly_between_random_order_and_the_oracle(pool: Pool) -> None:
    bm25 = quality(pool)
    assert bm25 == pytest.approx(0.4115, abs=5e-5)  # the README's figures
    assert quality(pool, create("random", seed=0)) == pytest.approx(0.1857, abs=5e-5)
    assert quality(pool, create("oracle", qrels=pool.qrels)) == pytest.approx(0.6798, abs=5e-5)


@pytest.mark.lucene
def test_nearly_every_query_finds_an_answer_among_20_candidates(pool: Pool) -> None:
    answered_ids = [
        query_id
        for query_id, hits in pool.candidates.items()
        if any(pool.qrels[query_id].get(hit.doc_id, 0) >= 2 for hit in hits)
    ]
    assert len(answered_ids) >= 36


@pytest.mark.lucene
@pytest.mark.models
def test_the_checkpoint_that_comes_along_ranks_better_than_bm25(pool: Pool) -> None:
    reranker = create("pe-rank", {"model": "bundled:pe-rank-smollm2-minilm", "device": "cpu"})
    assert quality(pool, reranker) > quality(pool) + 0.1
