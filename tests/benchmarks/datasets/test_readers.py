"""The strict readers: every bad line is named, nothing is skipped silently."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmarks.candidates.file import read_candidates
from benchmarks.datasets.formats.labelled import read_labelled
from benchmarks.datasets.readers import read_qrels, read_run
from rerankers.errors import InputError
from rerankers.files.json_lines import Row, read_json_lines, read_lines

if TYPE_CHECKING:
    from collections.abc import Callable

reuse_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
ids = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=8).filter(
    lambda text: text[0] not in "#{"  # of comments and JSON
)
grades = st.dictionaries(ids, st.dictionaries(ids, st.integers(-2, 3), min_size=1), min_size=1)


def write(folder: Path, content: str | bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def complaint(reader: Callable[[Path], Any], path: Path) -> str:
    with pytest.raises(InputError) as caught:
        list(reader(path))
    return str(caught.value).removeprefix(str(path))


def test_lines_keep_their_numbers_across_blank_ones(tmp_path: Path) -> None:
    assert list(read_lines(write(tmp_path, "\ufeffa\r\n\n b \n"))) == [(1, "a"), (3, " b ")]
    assert list(read_lines(write(tmp_path, "aX\n\ufeffb"))) == [
        (1, "aX"),
        (2, "\ufeffb"),
    ]  # no mark but the first


def test_a_gzip_file_reads_like_a_plain_one(tmp_path: Path) -> None:
    assert list(read_lines(write(tmp_path, gzip.compress(b"a\nb")))) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", ": the file is empty; check how it was made"),
        (b"\n \n", ": the file is empty; check how it was made"),
        (b"good\nb\xe4d\n", ":2: this line is not UTF-8; convert the file to UTF-8"),
        (gzip.compress(b"good\n" * 2, mtime=0)[:-9], ":3: the compressed file is damaged"),
        (gzip.compress(b"good\n" * 2, mtime=0)[:9], ":1: the compressed file is damaged"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in complaint(read_lines, write(tmp_path, content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert (
        complaint(read_lines, tmp_path / "absent")
        == ": cannot be read (No such file or directory); check the path"
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", ":2: broken JSON"),
        ("[]", ":2: expected a JSON object, found list"),
        ('{"score": NaN}', ":2: broken JSON (NaN is not JSON)"),
        ('{"a": ' + "[" * 100_000, ":2: broken JSON"),
    ],
    ids=["cut off", "list", "NaN", "too deep"],
)
def test_broken_json_lines_are_named(tmp_path: Path, line: str, says: str) -> None:
    assert complaint(read_json_lines, write(tmp_path, "{}\n" + line)).startswith(says)


@given(grades)
@settings(reuse_tmp_path, max_examples=40)
def test_qrels_read_the_same_in_both_formats(tmp_path: Path, qrels: dict[str, dict[str, int]]) -> None:
    pairs = [(query_id, doc_id, grade) for query_id, row in qrels.items() for doc_id, grade in row.items()]
    trec = "".join(f"{query_id} 0 {doc_id} {grade}\n" for query_id, doc_id, grade in pairs)
    beir = "query-id\tcorpus-id\tscore\n" + "".join("\t".join(map(str, pair)) + "\n" for pair in pairs)
    assert read_qrels(write(tmp_path, trec)) == qrels
    assert read_qrels(write(tmp_path, beir)) == qrels


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("q1 0 d1 high\n", ":1: the grade 'high' is not a whole number; write 0, 1, 2, ..."),
        ("q1 0 d1 1.5\n", ":1: the grade '1.5' is not a whole number"),
        ("q1 0 d1 1e0\n", ":1: the grade '1e0' is not a whole number"),
        ("q1 0 query_id 1\nquery_id 0 d1 score", ":2: the grade 'score' is not a whole number"),
        ("# a comment\n", ": the file holds no judgement"),
        ('{"query-id": "q1", "score": 1}', ":1: the key 'corpus-id' is missing"),
        (
            '{"query-id": "q1", "corpus-id": "d1", "score": true}',
            ":1: the grade 'True' is not a whole number",
        ),
        ('{"query-id": "q1", "corpus-id": "d1", "score": 1}\nq1 0 d2 1', ":2: broken JSON"),
        ("q1\td1\thigh\n", ":1: the grade 'high' is not a whole number"),
        ("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td1\t2\n", ":3: query 'q1' judges 'd1' a second time"),
        ("q1 0 d1 1\nq1 d2 1\n", ":2: expected 4 columns (query_id, 0, doc_id, grade), found 3"),
        ("q1\td1\t1\nq1 0 d2 1\n", ":2: expected 3 columns (query-id, corpus-id, score), found 4"),
        ("query-id\tcorpus-id\tscore\n", ": the file holds no judgement"),
    ],
)
def test_bad_qrels_are_named(tmp_path: Path, content: str, says: str) -> None:
    assert complaint(read_qrels, write(tmp_path, content)).startswith(says)


@given(
    st.dictionaries(ids, st.dictionaries(ids, st.floats(-1e30, 1e30), min_size=1), min_size=1), st.randoms()
)
@reuse_tmp_path
def test_a_run_comes_back_by_score_whatever_its_line_order(
    tmp_path: Path, run: dict[str, dict[str, float]], random: Any
) -> None:
    lines = []
    expected = {}
    for query_id, scores in run.items():
        ranked = sorted(scores.items(), key=lambda hit: (np.float32(hit[1]), hit[0]), reverse=True)
        expected[query_id] = ranked
        lines += [
            f"{query_id} Q0 {doc_id} {rank} {score!r} tag" for rank, (doc_id, score) in enumerate(ranked, 1)
        ]
    random.shuffle(lines)
    assert read_run(write(tmp_path, "\n".join(lines))) == expected


def test_comments_stand_anywhere_in_a_run_and_in_judgements(tmp_path: Path) -> None:
    run = "# a\n#b\nq Q0 d 1 2 t\n# q Q0 e 2 1 t\n#q Q0 f 3 0 t\nq Q0 g 4 -1 t\n #\n"
    assert read_run(write(tmp_path, run)) == {"q": [("d", 2.0), ("g", -1.0)]}
    assert read_qrels(write(tmp_path, "# a\nq 0 d 1\n#q 0 e 1\nq 0 f 0\n")) == {"q": {"d": 1, "f": 0}}
    assert complaint(read_run, write(tmp_path, "# a\n")).startswith(": the file holds nothing but comments")


@pytest.mark.parametrize("rank", ["1.0", "Q0", "-", "1e3", "rank"])
def test_the_rank_column_of_a_run_may_hold_anything(rank: str, tmp_path: Path) -> None:
    assert read_run(write(tmp_path, f"q Q0 d {rank} 2 t\n")) == {"q": [("d", 2.0)]}


def test_a_grade_may_be_written_with_decimals_that_are_zero(tmp_path: Path) -> None:
    qrels = read_qrels(write(tmp_path, "q 0 a 1.0\nq 0 b 2.\nq 0 c -1.00\nq 0 d +3\n"))
    assert qrels == {"q": {"a": 1, "b": 2, "c": -1, "d": 3}}


@pytest.mark.parametrize("name", ["query_id", "qid", "topic", "Query-ID"])
def test_a_line_of_four_column_names_is_no_judgement(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{name} iteration doc_id relevance\nq1 0 d1 1.0\n")
    assert read_qrels(path) == {"q1": {"d1": 1}}
    assert read_qrels(write(tmp_path, f"{name} 0 d1 1\n")) == {name: {"d1": 1}}  # a query of that name


@pytest.mark.parametrize(
    "line",
    [
        '{"query-id": "q1", "corpus-id": "d1", "score": 1}',
        '{"query_id": "q1", "doc_id": "d1", "relevance": 1.0}',
        '{"qid": "q1", "docid": "d1", "label": "1"}',
    ],
)
def test_judgements_are_read_from_json_lines(line: str, tmp_path: Path) -> None:
    assert read_qrels(write(tmp_path, f"{line}\n")) == {"q1": {"d1": 1}}


def test_equal_scores_of_a_run_are_in_descending_order_of_document_id(
    tmp_path: Path,
) -> None:
    run = read_run(write(tmp_path, "q Q0 b 2 1.5 t\nq Q0 c 3 9 t\nq Q0 a 1 1.5 t\n"))
    assert run == {"q": [("c", 9.0), ("b", 1.5), ("a", 1.5)]}


def test_scores_that_are_equal_in_32_bits_are_ties(tmp_path: Path) -> None:
    run = read_run(write(tmp_path, "q Q0 a 1 20.00000010 t\nq Q0 b 2 20.00000001 t\n"))
    assert [doc_id for doc_id, _ in run["q"]] == ["b", "a"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("q Q0 d 1 2.5", ":2: expected 6 columns (query_id Q0 doc_id rank score tag), found 5"),
        ("q Q0 d 1 nan t", ":2: the score 'nan' is not a finite number"),
        ("q Q0 d 1 1e999 t", ":2: the score '1e999' is not a finite number"),
        ("q Q0 d 1 -1e39 t", ":2: the score '-1e39' does not fit into trec_eval's 32 bits"),
        ("q Q0 first 2 1 t", ":2: query 'q' lists 'first' a second time"),
    ],
)
def test_bad_run_lines_are_named(tmp_path: Path, line: str, says: str) -> None:
    assert complaint(read_run, write(tmp_path, f"q Q0 first 1 3 t\n{line}\n")).startswith(says)


HIT = '{"content": "c", "qid": "q1", "docid": "d1", "rank": 1, "score": 2}'


def test_a_candidates_file_keeps_queries_passages_and_order(tmp_path: Path) -> None:
    lines = (
        '{"query": "by string", "hits": [{"content": "x", "qid": 7, "docid": "d2", "rank": 1, "score": 1},'
        ' {"content": "y", "qid": 7, "docid": 5, "rank": 2, "score": 4.5}]}\n'
        '{"query": {"text": "by object", "qid": 8}, "hits": [{"content": "x", "docid": "d2", "score": 0}]}\n'
        '{"query": {"text": "nothing found", "qid": "q9"}, "hits": []}\n'
    )
    candidates_file = read_candidates(write(tmp_path, lines))
    assert candidates_file.queries == {"7": "by string", "8": "by object", "q9": "nothing found"}
    assert candidates_file.passages == {"d2": "x", "5": "y"}
    assert candidates_file.hits == {"7": [("d2", 1.0), ("5", 4.5)], "8": [("d2", 0.0)], "q9": []}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"hits": []}', ":2: the key 'query' is missing; found 'hits'"),
        ('{"query": "x"}', ":2: the key 'hits' is missing; found 'query'"),
        ('{"query": "x", "hits": []}', ":2: the query has no id and no hits"),
        ('{"query": "", "hits": [' + HIT + "]}", ":2: the query is empty"),
        ('{"query": 4, "hits": [' + HIT + "]}", ":2: 'query' must be a string, not int"),
        ('{"query": {"text": "x"}, "hits": []}', ":2: query: the key 'qid' is missing"),
        ('{"query": "x", "hits": {}}', ":2: 'hits' must be a list, not dict"),
        ('{"query": "x", "hits": ["d1"]}', ":2: hit 1 must be an object, not str"),
        ('{"query": "x", "hits": [{"qid": "q2", "docid": "d", "score": 1}]}', ":2: hit 1: the key 'content'"),
        (
            '{"query": "x", "hits": [{"qid": "q2", "docid": "d", "content": "c", "score": "1"}]}',
            ":2: hit 1: 'score' must be a number, not str",
        ),
        (
            '{"query": "x", "hits": [{"qid": "q2", "docid": "d 1", "content": "c", "score": 1}]}',
            ":2: hit 1: 'docid' must be an id without white space",
        ),
        (
            '{"query": "x", "hits": [{"qid": "q2", "docid": "d", "content": "\\ud800", "score": 1}]}',
            ":2: hit 1: 'content' holds half a surrogate pair",
        ),
        (
            '{"query": "x", "hits": [{"qid": "q2", "docid": "d1", "content": "other", "score": 1}]}',
            ":2: hit 1: passage 'd1' had another content before",
        ),
        ('{"query": {"text": "x", "qid": "q2"}, "hits": [' + HIT + "]}", ":2: hit 1: belongs to query 'q1'"),
        ('{"query": "x", "hits": [' + HIT + "]}", ":2: query 'q1' appears a second time"),
        (
            '{"query": {"text": "x", "qid": "q2"}, "hits": ['
            '{"docid": "a", "rank": 2, "content": "", "score": 1},'
            ' {"docid": "b", "rank": 1, "content": "", "score": 2}]}',
            ":2: hit 2: ranks must increase from hit to hit; sort the hits",
        ),
        (
            '{"query": {"text": "x", "qid": "q2"}, "hits": ['
            '{"docid": "a", "rank": 1, "content": "", "score": 2},'
            ' {"docid": "b", "rank": 1, "content": "", "score": 1}]}',
            ":2: hit 2: ranks must increase from hit to hit; sort the hits",
        ),
        (
            '{"query": {"text": "x", "qid": "q2"}, "hits": [{"docid": "a", "content": "", "score": 1},'
            ' {"docid": "a", "content": "", "score": 2}]}',
            ":2: hit 2: passage 'a' appears a second time",
        ),
    ],
)
def test_bad_candidates_are_named(tmp_path: Path, line: str, says: str) -> None:
    first = '{"query": "first", "hits": [' + HIT + "]}"
    assert complaint(read_candidates, write(tmp_path, f"{first}\n{line}\n")).startswith(says)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["query", "hits", "qid", "docid"]), inner)
    ),
)


@pytest.mark.parametrize(
    "reader", [read_lines, read_json_lines, read_qrels, read_run, read_candidates, read_labelled]
)
@given(
    content=st.binary()
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.lists(st.sampled_from(["q1", "Q0", "0", "d1", "1e5", "-", "\t", " ", "\n", "\u2028"])).map(
        lambda words: "".join(words).encode()
    )
    | json_values.map(lambda value: repr(value).replace("'", '"').encode("utf-8", "surrogatepass"))
)
@settings(reuse_tmp_path, max_examples=40)
@example(content=b"\x1f\x8b")
@example(content=b'{"query": "x", "hits": [{"score": 1' + b"0" * 5000 + b"}]}")
def test_readers_answer_any_bytes_with_a_result_or_one_readable_line(
    tmp_path: Path, reader: Callable[[Path], Any], content: bytes
) -> None:
    path = write(tmp_path, content)
    message = str(path)
    try:
        list(reader(path))
    except InputError as error:
        message = str(error)
    assert message.startswith(str(path))
    assert "\n" not in message


@pytest.mark.parametrize("name", ["query-id", "query_id", "qid", "Query-ID"])
def test_a_beir_header_is_known_under_each_of_its_names(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, f"{name}\tcorpus-id\tscore\nq1\td1\t1\n")
    assert read_qrels(path) == {"q1": {"d1": 1}}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"b": 1, "c": 2}, ":1: the key 'a' is missing; found 'b', 'c'"),
        ({}, ":1: the key 'a' is missing; found no key"),
        ({"a": 10**400}, f":1: 'a' must be a finite number, not {str(10**400)[:20]}"),
        ({"a": -(10**400)}, f":1: 'a' must be a finite number, not {str(-(10**400))[:20]}"),
        ({"a": True}, ":1: 'a' must be a number, not bool"),
        ({"a": "1"}, ":1: 'a' must be a number, not str"),
    ],
)
def test_a_number_that_is_none_is_shown(values: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        Row(Path("file"), 1, values).number("a")
    assert str(caught.value) == f"file{says}"


def test_what_is_shown_of_a_line_is_short() -> None:
    with pytest.raises(InputError, match=r"found ('kkk[^ ]*\.\.\., ){8}\.\.\.$") as caught:
        Row(Path("file"), 1, {"k" * 5000 + str(place): 1 for place in range(99)}).get("a")
    assert len(str(caught.value)) < 1000
    with pytest.raises(InputError, match=r"not 'a a a.*\.\.\.$"):
        Row(Path("file"), 1, {"_id": "a " * 5000}).identifier("_id")


@pytest.mark.parametrize("identifier", [" q", "q ", "a b", "", "\t", "a\u2003b"])
def test_an_id_with_white_space_around_or_in_it_is_refused(identifier: str) -> None:
    with pytest.raises(InputError, match="must be an id without white space"):
        Row(Path("file"), 1, {"_id": identifier}).identifier("_id")


def test_a_part_of_a_line_is_named_in_its_error() -> None:
    with pytest.raises(InputError, match=r"^file:3: hit 2: 'docid' must be a string, not list"):
        Row(Path("file"), 3, {"docid": []}, "hit 2").identifier("docid")
    assert Row(Path("file"), 3, {"docid": 7}).identifier("docid") == "7"
