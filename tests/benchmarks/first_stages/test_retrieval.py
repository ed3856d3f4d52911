"""First stages: candidates that can be checked by hand."""

from __future__ import annotations

import gzip
import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from benchmarks.candidates.building import build_pool
from benchmarks.datasets.dataset import Dataset
from benchmarks.datasets.sources import open_dataset
from benchmarks.datasets.specs import DatasetSpec
from benchmarks.experiments.config import Experiment
from benchmarks.experiments.plan import plan
from benchmarks.first_stages.dense import best
from benchmarks.first_stages.retrieval import retrieve
from benchmarks.first_stages.specs import Bm25, Dense, FirstStageSpec, Given, Hybrid, Run, ScoredDocs
from benchmarks.pipeline import freeze_pool
from rerankers.errors import InputError, UnknownNameError
from rerankers.files.folder_lock import FolderLock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.candidates.frozen import Pool

PASSAGES = {
    "d1": "foxes sleep",
    "d2": "a fox hunts a fox",
    "d3": "owls hunt mice while foxes sleep",
    "d4": "granite",
}


class Handmade(Dataset):
    """Passages in memory; counts how often they were read."""

    def __init__(self, passages: dict[str, str], fingerprint: str = "handmade", breaks: bool = False) -> None:
        super().__init__("handmade", {"q1": "fox", "q2": "zebra"}, {"q1": {"d2": 1}})
        self.passages, self.breaks, self.reads = passages, breaks, 0
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def passage_count(self) -> int | None:
        return None

    def documents(self) -> Iterator[tuple[str, str]]:
        self.reads += 1
        yield from self.passages.items()
        if self.breaks:
            raise InputError("the last line is broken")

    def texts(self, doc_ids: Sequence[str]) -> dict[str, str]:
        return {doc_id: self.passages[doc_id] for doc_id in doc_ids}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(
        "".join(f'{{"_id": "{doc_id}", "text": "{text}"}}\n' for doc_id, text in PASSAGES.items())
    )
    (folder / "queries.jsonl").write_text(
        '{"_id": "q3", "text": "not judged"}\n{"_id": "q1", "text": "fox"}\n{"_id": "q2", "text": "owl"}\n'
    )
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t2\nq2\td3\t1\n")
    return folder


def write_run(folder: Path, content: str, name: str = "first.trec") -> Run:
    data = content.encode()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return Run(kind="run", path=str(folder / name))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bm25", Bm25()),
        ({"kind": "bm25", "k1": 1, "b": 0.5}, Bm25(k1=1.0, b=0.5)),
        ("given", Given()),
        ("scoreddocs", ScoredDocs(kind="scoreddocs")),
        (
            {"kind": "hybrid", "parts": ["bm25", "given"]},
            Hybrid(kind="hybrid", parts=[Bm25(), Given()]),
        ),
        ({"kind": "run", "path": "x.trec"}, Run(kind="run", path="x.trec")),
        ({"kind": "dense", "encoder": "org/name"}, Dense(kind="dense", encoder="org/name")),
    ],
)
def test_a_first_stage_is_told_by_its_kind(value: Any, expected: FirstStageSpec) -> None:
    assert TypeAdapter(FirstStageSpec).validate_python(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "bm52",
        {"kind": "bm25", "k": 1},
        {"kind": "bm25", "b": 2},
        {"kind": "bm25", "language": "German"},
        {"kind": "run"},
        {"kind": "hybrid", "parts": ["bm25"]},
        {"kind": "hybrid", "parts": ["bm25", {"kind": "hybrid", "parts": ["bm25", "given"]}]},
    ],
)
def test_wrong_first_stages_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(FirstStageSpec).validate_python(value)


@pytest.mark.parametrize("name", ["first.trec", "first.trec.gz"])
def test_a_run_is_cut_at_the_depth_and_names_its_origin(folder: Path, name: str) -> None:
    spec = write_run(folder, "q1 Q0 d3 1 9 t\nq1 Q0 d2 2 8 t\nq1 Q0 d1 3 7 t\n", name)
    dataset = open_dataset(str(folder))
    retrieved = retrieve(spec, dataset, {"q1": "fox", "q2": "owl"}, 2)
    assert retrieved.hits == {"q1": [("d3", 9.0), ("d2", 8.0)]}
    assert retrieved.seconds == {}  # nobody measured them; they are not zero
    assert retrieved.described["name"] == "first"
    assert len(retrieved.described["sha256"]) == 64


def test_a_hybrid_sums_reciprocal_ranks_and_is_timed_only_if_all_its_parts_are(folder: Path) -> None:
    first = write_run(folder, "q1 Q0 d3 1 9 t\nq1 Q0 d2 2 8 t\nq1 Q0 d4 3 7 t\n", "one.trec")
    two = write_run(folder, "q1 Q0 d2 1 9 t\nq1 Q0 d1 2 8 t\n", "two.trec")
    spec = Hybrid(kind="hybrid", parts=[first, two], k=1.0)
    retrieved = retrieve(spec, open_dataset(str(folder)), {"q1": "fox"}, 3)
    # d2: 1/3 + 1/2, d3: 1/2, d1: 1/3, d4: 1/4
    assert [doc_id for doc_id, _ in retrieved.hits["q1"]] == ["d2", "d3", "d1"]
    assert retrieved.hits["q1"][0][1] == pytest.approx(1 / 3 + 1 / 2)
    assert retrieved.seconds == {}
    assert [part["name"] for part in retrieved.described["parts"]] == ["one", "two"]
    shallow = retrieve(spec.model_copy(update={"part_depth": 1}), open_dataset(str(folder)), {"q1": "fox"}, 3)
    assert [doc_id for doc_id, _ in shallow.hits["q1"]] == ["d3", "d2"]  # equal scores keep the parts' order


def test_a_dataset_without_an_official_ranking_says_so(folder: Path) -> None:
    with pytest.raises(InputError, match="data has no scoreddocs"):
        retrieve(ScoredDocs(kind="scoreddocs"), open_dataset(str(folder)), {"q1": "fox"}, 3)


def test_a_run_of_another_dataset_is_refused(folder: Path) -> None:
    spec = write_run(folder, "q7 Q0 d3 1 9 t\n")
    with pytest.raises(InputError, match=r"first\.trec: ranks none of the queries: it has 'q7'.*own dataset"):
        build_pool(str(folder), spec, 10)


def test_queries_of_a_run_that_the_dataset_lacks_are_counted_aloud_and_recorded(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write_run(folder, "q1 Q0 d3 1 9 t\nq7 Q0 d3 1 9 t\nq8 Q0 d3 1 9 t\n")
    pool = build_pool(str(folder), spec, 10)
    assert pool.first_stage["queries_left_out"] == 2
    assert "not in the dataset or not judged: 2" in capsys.readouterr().err


def test_a_run_with_a_passage_that_the_dataset_lacks_is_refused(folder: Path) -> None:
    spec = write_run(folder, "q1 Q0 d9 1 9 t\n")
    with pytest.raises(InputError, match="passage 'd9' is not in here"):
        build_pool(str(folder), spec, 10)


def test_a_pool_holds_the_judged_queries_in_order_even_without_candidates(folder: Path) -> None:
    spec = write_run(folder, "q2 Q0 d3 1 9 t\nq3 Q0 d1 1 9 t\n")
    pool = build_pool(str(folder), spec, 10)
    assert pool.queries == {"q1": "fox", "q2": "owl"}
    assert pool.qrels == {"q1": {"d2": 2}, "q2": {"d3": 1}}
    assert [[(c.doc_id, c.text) for c in hits] for hits in pool.candidates.values()] == [
        [],
        [("d3", "owls hunt mice while foxes sleep")],
    ]
    assert pool.fetch_seconds.keys() == {"q1", "q2"}


def test_a_limit_keeps_the_first_judged_queries_and_their_grades(folder: Path) -> None:
    pool = build_pool(str(folder), write_run(folder, "q2 Q0 d3 1 9 t\n"), 10, limit=1)
    assert (list(pool.queries), pool.qrels) == (["q1"], {"q1": {"d2": 2}})


def test_without_judgements_every_query_is_kept(folder: Path) -> None:
    (folder / "qrels" / "test.tsv").unlink()
    pool = build_pool(str(folder), write_run(folder, "q2 Q0 d3 1 9 t\n"), 10)
    assert (list(pool.queries), pool.qrels) == (["q3", "q1", "q2"], {})


def test_given_candidates_keep_the_order_of_their_file(tmp_path: Path) -> None:
    (tmp_path / "top.jsonl").write_text(
        '{"query": {"text": "fox", "qid": "q1"}, "hits": [{"docid": "a", "content": "A", "score": 1},'
        ' {"docid": "b", "content": "B", "score": 5}, {"docid": "c", "content": "C", "score": 0}]}\n'
    )
    pool = build_pool(DatasetSpec(candidates=str(tmp_path / "top.jsonl")), Given(), 2)
    assert [(hit.doc_id, hit.text, hit.score) for hit in pool.candidates["q1"]] == [
        ("a", "A", 1),
        ("b", "B", 5),
    ]
    assert pool.first_stage == {"kind": "given", "timed": False}


def test_a_dataset_without_candidates_cannot_give_them(folder: Path) -> None:
    with pytest.raises(InputError, match="data brings no candidates; use bm25, dense or run as first stage"):
        build_pool(str(folder), Given(), 2)


@pytest.mark.parametrize("block", [1, 3, 7, 100])
def test_searching_in_blocks_equals_searching_at_once(block: int) -> None:
    generator = torch.Generator().manual_seed(0)
    passages = torch.randint(-1, 2, (50, 4), generator=generator).float()  # many ties
    vector = torch.tensor([1.0, 2.0, -1.0, 0.5])
    scores = (passages @ vector).tolist()
    expected = sorted(enumerate(scores), key=lambda hit: (-hit[1], hit[0]))[:10]
    assert best(vector, passages, 10, block) == expected


def test_dense_retrieval_finds_the_text_itself_first_and_embeds_only_once(tiny_encoder: str) -> None:
    dataset = Handmade(PASSAGES)
    spec = Dense(kind="dense", encoder=tiny_encoder)
    for _ in range(2):
        retrieved = retrieve(spec, dataset, {"q1": PASSAGES["d3"]}, 3)
        doc_id, score = retrieved.hits["q1"][0]
        assert doc_id == "d3"
        assert score == pytest.approx(1.0)
        assert len(retrieved.hits["q1"]) == 3
        assert retrieved.seconds["q1"] > 0
    assert dataset.reads == 1
    assert retrieved.described["kind"] == "dense"
    retrieve(Dense(kind="dense", encoder=tiny_encoder, options={"pooling": "cls"}), dataset, {"q1": "x"}, 3)
    assert dataset.reads == 2  # another way to embed is another index


def test_a_passage_without_tokens_is_never_retrieved(encoder_without_special_tokens: str) -> None:
    dataset = Handmade({"d0": "", "d1": "bees", "d2": " ", "d3": "a glacier moves"})
    spec = Dense(kind="dense", encoder=encoder_without_special_tokens)
    for is_timed in (True, False):
        hits = retrieve(spec, dataset, {"q1": "bees", "q2": ""}, 4, is_timed=is_timed).hits
        assert [doc_id for doc_id, _ in hits["q1"]] == ["d1", "d3"]
        assert {doc_id for doc_id, _ in hits["q2"]} == {"d1", "d3"}
    nothing = retrieve(spec, Handmade({"d0": "", "d1": " "}, "blank"), {"q1": "bees"}, 4, is_timed=False)
    assert nothing.hits == {"q1": []}


def test_an_encoder_of_inner_products_retrieves_by_them(tiny_encoder: str) -> None:
    from rerankers.encoders.encoder import Encoder

    options = {"similarity": "dot"}
    spec = Dense(kind="dense", encoder=tiny_encoder, options=options)
    hits = retrieve(spec, Handmade(PASSAGES), {"q1": "bees"}, 3).hits["q1"]
    encoder = Encoder(tiny_encoder, similarity="dot")
    products = encoder.encode(list(PASSAGES.values())) @ encoder.encode(["bees"], kind="query")[0]
    expected = sorted(zip(PASSAGES, products.tolist(), strict=True), key=lambda hit: -hit[1])[:3]
    assert [score for _, score in hits] == pytest.approx([score for _, score in expected], rel=1e-5)
    assert max(score for _, score in hits) > 1.5  # more than any cosine


def test_queries_searched_together_find_what_each_finds_alone(
    tiny_encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, spec = Handmade(PASSAGES), Dense(kind="dense", encoder=tiny_encoder)
    queries = {f"q{number}": text for number, text in enumerate(PASSAGES.values())}
    monkeypatch.setattr("benchmarks.first_stages.dense._PRODUCTS", 2 * len(PASSAGES))  # two queries at a time
    alone = retrieve(spec, dataset, queries, 2)
    together = retrieve(spec, dataset, queries, 2, is_timed=False)
    assert together.seconds == {}
    for query_id, hits in alone.hits.items():
        assert [doc_id for doc_id, _ in together.hits[query_id]] == [doc_id for doc_id, _ in hits]
        scores = [score for _, score in together.hits[query_id]]
        assert scores == pytest.approx([score for _, score in hits], abs=1e-6)


def test_wrong_encoder_options_are_named(tiny_encoder: str) -> None:
    spec = Dense(kind="dense", encoder=tiny_encoder, options={"poling": "cls"})
    with pytest.raises(InputError, match="option 'poling' of the first stage's encoder"):
        retrieve(spec, Handmade(PASSAGES), {"q1": "x"}, 3)


def bm25_score(term_frequency: int, length: int, k1: float, b: float) -> float:
    """Lucene's BM25 for a word in 3 of 4 passages, which have 2, 3, 6 and 1 words without stop words."""
    idf = math.log(1 + (4 - 3 + 0.5) / (3 + 0.5))
    average = (2 + 3 + 6 + 1) / 4
    return idf * term_frequency / (term_frequency + k1 * (1 - b + b * length / average))


ENDLESS_INDEXING = """
import itertools, pathlib, sys
from benchmarks.first_stages.lucene_index import build_index

class Endless:
    name, passage_count = "endless", None

    def documents(self):
        for number in itertools.count():
            if number == 5000:
                print("writing", flush=True)
            yield f"d{number}", "a fox"

build_index(Endless(), pathlib.Path(sys.argv[1]))
"""


@pytest.mark.lucene
class TestLucene:
    """One index serves them all."""

    @pytest.fixture(autouse=True)
    def pyserini(self) -> None:
        pytest.importorskip("jnius_config", reason="needs the extra bm25")

    @pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.2, 0.75)])
    def test_scores_are_those_of_the_formula(self, k1: float, b: float) -> None:
        retrieved = retrieve(Bm25(k1=k1, b=b), Handmade(PASSAGES), {"q1": "fox", "q2": "zebra"}, 10)
        expected = [
            ("d2", bm25_score(2, 3, k1, b)),  # "a" is a stop word
            ("d1", bm25_score(1, 2, k1, b)),
            ("d3", bm25_score(1, 6, k1, b)),
        ]
        assert [doc_id for doc_id, _ in retrieved.hits["q1"]] == [doc_id for doc_id, _ in expected]
        assert [score for _, score in retrieved.hits["q1"]] == pytest.approx(
            [s for _, s in expected], abs=1e-4
        )
        assert retrieved.hits["q2"] == []
        assert retrieved.seconds.keys() == {"q1", "q2"}

    def test_the_depth_is_kept(self) -> None:
        assert len(retrieve(Bm25(), Handmade(PASSAGES), {"q1": "fox"}, 2).hits["q1"]) == 2

    def test_equal_scores_are_ordered_by_id_however_the_index_was_built(self) -> None:
        same = {f"d{number}": "fox" for number in range(40)}
        for passages in (same, dict(reversed(same.items()))):
            dataset = Handmade(passages, fingerprint=next(iter(passages)))
            hits = retrieve(Bm25(), dataset, {"q1": "fox"}, 40).hits["q1"]
            assert [doc_id for doc_id, _ in hits] == sorted(same)

    def test_an_index_is_built_once(self) -> None:
        dataset = Handmade(PASSAGES)
        for _ in range(2):
            retrieve(Bm25(), dataset, {"q1": "fox"}, 2)
        assert dataset.reads == 1

    def test_a_half_built_index_is_never_used(self, cache: Path) -> None:
        with pytest.raises(InputError, match="the last line is broken"):
            retrieve(Bm25(), Handmade(PASSAGES, breaks=True), {"q1": "fox"}, 2)
        assert list((cache / "indexes" / "handmade").iterdir()) == []
        assert retrieve(Bm25(), Handmade(PASSAGES), {"q1": "fox"}, 1).hits["q1"][0][0] == "d2"

    def test_what_a_killed_process_left_is_removed_and_what_another_builds_is_kept(self, cache: Path) -> None:
        folder = cache / "indexes" / "handmade"
        process = subprocess.Popen(
            [sys.executable, "-c", ENDLESS_INDEXING, str(folder / "index")], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.kill()
        process.wait()
        process.stdout.close()
        [left] = folder.iterdir()
        assert (left / "passages").is_dir()
        busy = folder / ".building-busy"
        busy.mkdir()
        with FolderLock(busy):
            assert retrieve(Bm25(), Handmade(PASSAGES), {"q1": "fox"}, 1).hits["q1"][0][0] == "d2"
        assert not left.exists()
        assert busy.exists()

    def test_files_give_the_rankings_that_objects_give_one_by_one_or_at_once(self, tmp_path: Path) -> None:
        passages = {
            f"d{number}": " ".join(f"word{number * step % 37}" for step in range(1, 2 + number % 9))
            for number in range(60)
        }
        passages |= {"none": "", "stop words": "the of", 'quoted"': 'Straße "naïve" \\ \u2028 word1\n\tword2'}
        queries = {f"q{number}": f"word{number} word{number + 5}" for number in range(5)} | {"s": "straße"}
        passages = {doc_id.replace(" ", "-"): text for doc_id, text in passages.items()}
        dataset = Handmade(passages, "objects")
        timed = retrieve(Bm25(), dataset, queries, 20)
        from pyserini.index.lucene import LuceneIndexer
        from pyserini.search.lucene import LuceneSearcher

        indexer = LuceneIndexer(str(tmp_path / "objects"), threads=2)
        indexer.add_batch_dict([{"id": doc_id, "contents": text} for doc_id, text in passages.items()])
        indexer.close()
        searcher = LuceneSearcher(str(tmp_path / "objects"))
        searcher.set_bm25(0.9, 0.4)
        expected = {
            query_id: [(hit.docid, float(hit.score)) for hit in searcher.search(query, k=20)]
            for query_id, query in queries.items()
        }
        assert timed.hits == expected
        assert expected["s"][0][0] == 'quoted"'
        at_once = retrieve(Bm25(), dataset, queries, 20, is_timed=False)
        assert at_once.hits == expected
        assert at_once.seconds == {}

    def test_candidates_are_searched_for_at_once_until_latency_mode_asks_for_times(
        self, folder: Path, tmp_path: Path
    ) -> None:
        def frozen(mode: str) -> Pool:
            settings = {"name": "e", "datasets": str(folder), "first_stages": "bm25", "depths": 2}
            protocol = {"mode": mode}
            experiment = Experiment.model_validate(
                {**settings, "rerankers": "first-stage", "protocol": protocol}
            )
            [cell] = plan(experiment)
            return freeze_pool(cell.pool, tmp_path / "out", store_text=True)

        at_once, timed, later = frozen("throughput"), frozen("latency"), frozen("throughput")
        assert at_once.digest == timed.digest == later.digest
        assert at_once.retrieve_seconds == {}
        assert timed.retrieve_seconds.keys() == {"q1", "q2"}
        assert later.retrieve_seconds == timed.retrieve_seconds
        assert not {"timed", "searched"} & timed.first_stage.keys()

    def test_an_unknown_prebuilt_index_offers_near_misses(self) -> None:
        with pytest.raises(UnknownNameError, match=r"did you mean .*msmarco-v1-passage"):
            retrieve(Bm25(index="msmarco-v1-pasage"), Handmade(PASSAGES), {"q1": "fox"}, 2)


@pytest.mark.lucene
def test_bm25_reads_a_language_by_its_own_analyzer(capsys: pytest.CaptureFixture[str]) -> None:
    passages = {"d1": "Die Häuser in den Städten", "d2": "Das Meer ist kalt", "d3": "Nyumba zilikuwa"}
    dataset = Handmade(passages, "languages")

    def search_ids(query: str, **options: Any) -> list[str]:
        hits = retrieve(Bm25(**options), dataset, {"q1": query}, 3).hits["q1"]
        return [doc_id for doc_id, _ in hits]

    assert search_ids("Haus Stadt", language="de") == ["d1"]
    assert search_ids("Haus Stadt") == []  # English stems neither
    assert search_ids("Nyumba", language="sw") == ["d3"]
    assert "no analyzer for 'sw'; words are cut at white space" in capsys.readouterr().err
