"""Distillation: a teacher's order of drawn candidates, resumable, and the file says where it comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cli.main import main
from benchmarks.training_data.distillation import distill, draw
from benchmarks.training_data.distillation_settings import Distillation, load_distillation
from rerankers.encoders.encoder import Encoder
from rerankers.errors import InputError
from rerankers.training.data.records import read_alignment, read_ranking

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from rerankers.encoders.encoder import Kind

QUERIES = {f"q{number}": f"query {number}" for number in range(6)}
PASSAGES = {f"d{number}": f"passage {number}" for number in range(9)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a collection, judgements for all but the last query, and a run that lists d0 ... d8 for each."""
    (tmp_path / "text" / "qrels").mkdir(parents=True)
    for name, texts in (("queries", QUERIES), ("corpus", PASSAGES)):
        rows = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        (tmp_path / "text" / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    judged = "".join(f"q{number}\td{number}\t1\n" for number in range(5))
    (tmp_path / "text" / "qrels" / "train.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    lines = [
        f"{query} Q0 {doc} {rank} {20 - rank} first"
        for query in QUERIES
        for rank, doc in enumerate(PASSAGES, 1)
    ]
    (tmp_path / "first.trec").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "distill.yaml").write_text(
        "dataset: {folder: ./text}\n"
        "first_stage: {kind: run, path: ./first.trec}\n"
        "candidates: {depth: 8, per_list: 4, at: mixed}\n"
        "teacher: reverse\n"
        "batch: 2\n",
        encoding="utf-8",
    )
    return tmp_path


def settings(folder: Path, *overrides: str) -> Distillation:
    return load_distillation(str(folder / "distill.yaml"), overrides)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_lists_are_in_the_teachers_order_and_are_read_back(folder: Path) -> None:
    out = folder / "lists.jsonl"
    assert distill(settings(folder), out) == 5  # the judged queries
    for line, record in zip(lines(out)[1:], read_ranking(out), strict=True):
        ranked = [line["doc_ids"][place] for place in record.ranking]
        assert ranked == sorted(ranked, reverse=True)  # the teacher turns the first stage's order around
        assert set(record.passages) <= set(PASSAGES.values())


def test_the_teacher_reads_candidates_in_the_first_stages_order_and_the_list_shows_them_shuffled(
    folder: Path,
) -> None:
    out = folder / "lists.jsonl"
    distill(settings(folder, "teacher=first-stage", "candidates.per_list=8"), out)
    doc_id_lists = [line["doc_ids"] for line in lines(out)[1:]]
    assert len({tuple(doc_ids) for doc_ids in doc_id_lists}) > 1
    for line, doc_ids in zip(lines(out)[1:], doc_id_lists, strict=True):
        assert [doc_ids[place] for place in line["ranking"]] == [f"d{number}" for number in range(8)]


def test_lists_tell_the_first_stages_order_and_the_judgements_for_evaluation(folder: Path) -> None:
    out = folder / "lists.jsonl"
    with (folder / "text" / "qrels" / "train.tsv").open("a") as judgements:
        judgements.write("q0\td1\t0\nq0\td8\t3\n")  # d8 is below the depth
    distill(settings(folder, "candidates.per_list=8", "queries=all"), out)
    for line, record in zip(lines(out)[1:], read_ranking(out), strict=True):
        assert [line["doc_ids"][place] for place in record.first_stage or ()] == list(PASSAGES)[:8]
        if line["query_id"] == "q5":  # which nobody judged
            assert record.grades is None
            continue
        relevant = line["query_id"].replace("q", "d")
        assert record.grades == tuple(int(doc_id == relevant) for doc_id in line["doc_ids"])
        assert record.grades_elsewhere == ((3,) if line["query_id"] == "q0" else ())


def test_the_file_names_its_teacher_and_settings_and_each_list_the_digest(folder: Path) -> None:
    out = folder / "lists.jsonl"
    distill(settings(folder), out)
    first, *rest = lines(out)
    assert first["about"]["teacher"]["name"] == "reverse"
    assert first["about"]["settings"]["candidates"]["per_list"] == 4
    assert {line["teacher"] for line in rest} == {first["about"]["digest"]}


@pytest.mark.parametrize("cut", [0, 1, 40, 700, 1500])
def test_a_killed_run_goes_on_and_repeats_no_query(folder: Path, cut: int) -> None:
    whole, killed = folder / "whole.jsonl", folder / "killed.jsonl"
    distill(settings(folder), whole)
    killed.write_bytes(whole.read_bytes()[:-cut] if cut else b"")
    distill(settings(folder), killed)
    assert killed.read_bytes() == whole.read_bytes()


def test_a_longer_file_begins_with_the_lists_of_a_shorter_one(folder: Path) -> None:
    out = folder / "lists.jsonl"
    assert distill(settings(folder, "limit=2"), out) == 2
    short = out.read_bytes()
    assert distill(settings(folder, "limit=4"), out) == 4
    assert out.read_bytes().startswith(short)


@pytest.mark.parametrize("change", ["seed=1", "candidates.per_list=3", "teacher=random"])
def test_lists_of_other_settings_are_never_mixed(folder: Path, change: str) -> None:
    out = folder / "lists.jsonl"
    distill(settings(folder, "limit=2"), out)
    with pytest.raises(InputError, match="other settings or other models"):
        distill(settings(folder, change), out)


def test_a_file_of_something_else_is_left_alone(folder: Path) -> None:
    out = folder / "distill.yaml"
    before = out.read_bytes()
    with pytest.raises(InputError, match="not a line of a distillation"):
        distill(settings(folder), out)
    assert out.read_bytes() == before


def test_judged_passages_come_first_and_the_teacher_orders_the_rest(folder: Path) -> None:
    out = folder / "lists.jsonl"
    distill(settings(folder, "qrels_first=true", "candidates.shuffle=false"), out)
    for line in lines(out)[1:]:
        ranked = [line["doc_ids"][place] for place in line["ranking"]]
        assert ranked[0] == line["query_id"].replace("q", "d")
        assert ranked[1:] == sorted(ranked[1:], reverse=True)


def test_first_stage_and_teacher_embed_a_passage_once(
    folder: Path, tiny_encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANKBENCH_CACHE", str(folder / "cache"))
    embedded: list[str] = []
    encode = Encoder.encode_and_cut

    def counted(
        encoder: Encoder, texts: Sequence[str], *, kind: Kind = "passage"
    ) -> tuple[torch.Tensor, list[int]]:
        embedded.extend(texts if kind == "passage" else [])
        return encode(encoder, texts, kind=kind)

    monkeypatch.setattr(Encoder, "encode_and_cut", counted)
    spec = settings(
        folder,
        f"first_stage={{kind: dense, encoder: {tiny_encoder}}}",
        f"teacher={{name: embedding, options: {{model: {tiny_encoder}, embeddings: precomputed}}}}",
    )
    assert distill(spec, folder / "lists.jsonl") == 5
    assert sorted(embedded) == sorted(PASSAGES.values())


def test_a_teacher_that_costs_nothing_needs_no_budget_and_leaves_no_ledger(folder: Path) -> None:
    out = folder / "lists.jsonl"
    assert distill(settings(folder, "budget=0.01"), out) == 5
    assert not out.with_name("lists.jsonl.spending").exists()


def test_the_commands_write_what_the_trainer_reads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists, pairs = folder / "lists.jsonl", folder / "pairs.jsonl"
    assert main(["distill", str(folder / "distill.yaml"), "--limit", "3", "--out", str(lists)]) == 0
    assert main(["train", "align-data", str(folder / "text"), "--out", str(pairs)]) == 0
    assert (len(read_ranking(lists)), len(read_alignment(pairs))) == (3, len(PASSAGES))
    assert "3 lists in" in capsys.readouterr().out
    assert main(["distill", "no-such-settings", "--out", str(lists)]) == 2
    assert "distill-embedding" in capsys.readouterr().err


def test_unjudged_queries_are_used_when_asked_for(folder: Path) -> None:
    assert distill(settings(folder, "queries=all"), folder / "lists.jsonl") == 6


def test_the_oracle_teaches_from_the_judgements(folder: Path) -> None:
    out = folder / "lists.jsonl"
    distill(settings(folder, "teacher=oracle", "candidates.per_list=8"), out)
    for line in lines(out)[1:]:
        assert line["doc_ids"][line["ranking"][0]] == line["query_id"].replace("q", "d")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("candidates.depth=3", "depth 3 is less than per_list 4"),
        ("candidates.at=deep", "candidates.at"),
        ("teacher=embeding", "did you mean embedding"),
        ("techer=random", "did you mean teacher"),
    ],
)
def test_wrong_settings_are_refused_with_the_place(folder: Path, change: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        distill(settings(folder, change), folder / "lists.jsonl")


@given(st.integers(2, 40), st.integers(2, 20), st.integers(0, 20), st.sampled_from(["top", "mixed"]))
def test_a_list_never_repeats_or_invents_a_passage(count: int, per_list: int, more: int, at: str) -> None:
    spec = Distillation.model_validate(
        {
            "dataset": "bundled",
            "first_stage": "bm25",
            "candidates": {"depth": per_list + more, "per_list": per_list, "at": at},
            "teacher": "reverse",
            "qrels_first": True,
        }
    )
    hits = [(f"d{rank}", -float(rank)) for rank in range(count)]
    drawn = draw(spec, hits, {"d1": 1}, "q")
    reach = min(count, per_list + more)
    assert len(set(drawn)) == len(drawn) == min(per_list, reach)
    assert set(drawn) <= set(hits[:reach])
    assert ("d1", -1.0) in drawn
    assert drawn == draw(spec, hits, {"d1": 1}, "q")


def test_passages_that_the_dataset_excludes_are_in_no_list(folder: Path) -> None:
    plain, out = folder / "plain.jsonl", folder / "lists.jsonl"
    (folder / "excluded.txt").write_text("".join(f"q{number} d2\n" for number in range(5)))
    excluding = (f"dataset.exclude={folder / 'excluded.txt'}", "candidates.per_list=8")
    distill(settings(folder, *excluding), out)
    distill(settings(folder, "candidates.per_list=8"), plain)
    assert all("d2" in line["doc_ids"] for line in lines(plain)[1:])
    assert all("d2" not in line["doc_ids"] and len(line["doc_ids"]) == 8 for line in lines(out)[1:])
    assert lines(out)[0]["about"]["digest"] != lines(plain)[0]["about"]["digest"]
