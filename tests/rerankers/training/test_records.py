"""Training records: both published forms and the plain one, and no wrong line is read as data."""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rerankers.errors import InputError
from rerankers.pe_rank.prompt import PLACEHOLDER, PromptTemplate
from rerankers.training.data.records import AlignmentRecord, RankingRecord, read_alignment, read_ranking

GOLDEN = Path(__file__).parents[2] / "golden" / "pe_rank" / "mistral" / "golden.json"
reuse_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
texts = st.text(st.characters(exclude_categories=["C"]), max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=6,
)


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "data.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def published(query: str, passages: list[str], ranking: list[int], first: int = 0) -> dict[str, Any]:
    template = PromptTemplate()
    prompts = [template.message(query, len(passages), texts) for texts in (passages, None)]
    with_text, without_text = ([{"role": "user", "content": prompt}] for prompt in prompts)
    return {
        "messages_w_content": with_text,
        "messages_wo_content": without_text,
        "ranking": [place + first for place in ranking],
        "extra_texts": [*passages, *(passages[place] for place in ranking)],
    }


def test_the_golden_batch_of_the_reference_is_read_as_it_is(tmp_path: Path) -> None:
    batch = json.loads(GOLDEN.read_text(encoding="utf-8"))["training"]["batch"]
    records = read_ranking(write(tmp_path, *batch))
    for record, row in zip(records, batch, strict=True):
        assert record.query == row["query"]
        assert list(record.passages) == row["passages"]
        assert list(record.ranking) == row["ranking"]
        assert record.messages_with_text == tuple(row["messages_w_content"])
        assert record.messages_without_text == tuple(row["messages_wo_content"])


@reuse_tmp_path
@given(
    st.lists(texts, min_size=1, max_size=6).flatmap(
        lambda passages: st.tuples(st.just(passages), st.permutations(range(len(passages))))
    ),
    st.sampled_from([0, 1]),
)
def test_both_forms_and_both_countings_give_the_same_record(
    tmp_path: Path, drawn: tuple[list[str], list[int]], first: int
) -> None:
    passages, ranking = drawn
    plain_row = {"query": "a query", "passages": passages, "ranking": [place + first for place in ranking]}
    rows = [plain_row, published("a query", [text.replace("<", "(") for text in passages], ranking, first)]
    plain, other = read_ranking(write(tmp_path, *rows))
    assert plain == RankingRecord("a query", tuple(passages), tuple(ranking))
    assert (other.query, other.ranking) == ("a query", tuple(ranking))


@reuse_tmp_path
@given(
    st.dictionaries(
        st.sampled_from(["query", "passages", "ranking", "extra_texts", "messages", "messages_w_content"]),
        json_values,
    )
)
def test_no_line_breaks_a_reader_but_with_an_input_error(tmp_path: Path, row: dict[str, Any]) -> None:
    path = write(tmp_path, row)
    for read in (read_ranking, read_alignment):
        with contextlib.suppress(InputError):
            assert len(read(path)) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ranking": [0, 0]}, "each of the 2 passages once"),
        ({"ranking": [0, 2]}, "each of the 2 passages once"),
        ({"ranking": [True, 0]}, "whole numbers"),
        ({"ranking": []}, "at least one element"),
        ({"passages": ["one", 2]}, "passages 2: 'passages' must be a string, not int"),
        ({"query": None}, "'query' must be a string"),
    ],
)
def test_a_wrong_line_is_named_with_its_reason(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    row = {"query": "q", "passages": ["one", "two"], "ranking": [1, 0]}
    path = write(tmp_path, row, {**row, **change})
    with pytest.raises(InputError, match=reason) as failure:
        read_ranking(path)
    assert str(failure.value).startswith(f"{path}:2: ")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"extra_texts": ["one", "two", "one", "two"]}, "in the order of 'ranking' at place 1"),
        ({"extra_texts": ["one", "two", "two"]}, "each passage twice"),
        ({"messages_wo_content": [{"role": "user", "content": "none"}]}, "0 times <PLACEHOLDER>"),
        ({"messages_w_content": [{"role": "human", "content": "x"}]}, "the role 'human' is none of"),
        ({"messages_w_content": ["x"]}, "expected an object with role and content"),
    ],
)
def test_a_published_line_that_contradicts_itself_is_refused(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    path = write(tmp_path, {**published("q", ["one", "two"], [1, 0]), **change})
    with pytest.raises(InputError, match=reason):
        read_ranking(path)


def test_an_answer_in_a_published_prompt_gives_way_to_the_gold_ranking(tmp_path: Path) -> None:
    row = published("q", ["one", "two"], [1, 0])
    row["messages_w_content"].append({"role": "assistant", "content": "<RANK><RANK>"})
    [record] = read_ranking(write(tmp_path, row))
    assert record.messages_with_text is not None
    assert [message["role"] for message in record.messages_with_text] == ["user"]


def test_an_alignment_record_keeps_its_chat_and_texts(tmp_path: Path) -> None:
    chat = [
        {"role": "user", "content": f"Restate: {PLACEHOLDER}"},
        {"role": "assistant", "content": "A lighthouse."},
    ]
    path = write(tmp_path, {"messages": chat, "extra_texts": ["A lighthouse."]})
    assert read_alignment(path) == [AlignmentRecord(tuple(chat), ("A lighthouse.",))]


def test_alignment_without_an_answer_or_with_a_slot_too_many_is_refused(tmp_path: Path) -> None:
    user = {"role": "user", "content": PLACEHOLDER}
    path = write(tmp_path, {"messages": [user], "extra_texts": ["one"]})
    with pytest.raises(InputError, match="must end with the assistant's turn"):
        read_alignment(path)
    answer = {"role": "assistant", "content": "one"}
    path = write(tmp_path, {"messages": [user, answer], "extra_texts": ["one", "two"]})
    with pytest.raises(InputError, match="1 times <PLACEHOLDER>, but there are 2 texts"):
        read_alignment(path)


def test_a_compressed_file_and_one_that_names_its_origin_are_read(tmp_path: Path) -> None:
    row = {"query": "q", "passages": ["one"], "ranking": [0], "teacher": "embedding"}
    about = {"about": {"teacher": "embedding"}}
    lines = "\n".join(map(json.dumps, [about, row, about, row]))  # two files joined
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(lines.encode()))
    assert read_ranking(path) == 2 * [RankingRecord("q", ("one",), (0,))]


def test_a_file_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no record"):
        read_ranking(write(tmp_path, {"about": {}}))
