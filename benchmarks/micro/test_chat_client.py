"""Time that the chat client adds to waiting, measured against an endpoint that takes 200 ms a call.

43 queries of 9 windows, as on DL19 with RankGPT's windows over 100 passages. What is promised is printed and
kept in `extra_info`, prompts and parsing included:

- `speedup`: 16 queries at once against one after another; at least 12. Queries of nine calls in a row allow
  14.3, for 43 of them go in three rounds.
- `added_ms_per_call`: 16 queries at once, beyond the same sleeps in the same order; under 5.
- `added_ms_per_call_alone`: a query's calls one after another, beyond the same number of sleeps, and
  `bare_ms_per_call`: the same of a bare connection that sends as many bytes, which no client can go below.
- `cpu_ms_per_call`: processor time of this process, which bounds the calls per second.
"""

from __future__ import annotations

import asyncio
import http.client
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rerankers import Candidate, RerankRequest, StageClock, create

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUERIES, DEPTH, WINDOWS, AT_ONCE, DELAY_SECONDS = 43, 100, 9, 16, 0.2
ALONE = 3  # queries that are run one after another, two seconds each
WORDS = [a + b for a in ("ta", "ke", "mi", "no", "lu", "ra", "so", "ven") for b in ("lo", "rin", "da", "th")]


@pytest.fixture(scope="module")
def requests() -> list[RerankRequest]:
    """Return 43 queries with 100 passages of 20 to 120 words each, the spread of MS MARCO's passages."""
    draw = random.Random(7)  # noqa: S311 - no secret

    def words() -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(20, 120)))

    return [
        RerankRequest(
            str(q), f"query {q}", tuple(Candidate(str(q), f"{q}-{i}", words(), -i) for i in range(DEPTH))
        )
        for q in range(QUERIES)
    ]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """Start a process with an endpoint that takes 200 ms a call, and provide its URL."""
    stub = Path(__file__).parent / "workloads" / "stub_endpoint.py"
    process = subprocess.Popen(
        [sys.executable, str(stub), str(DELAY_SECONDS)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    process.kill()
    process.wait()
    process.stdout.close()


def sleep(queries: int, at_once: int) -> float:
    """Return the seconds of the calls' waits alone: nine of 200 ms a query, `at_once` queries at a time."""

    async def wait_for_all() -> None:
        free = asyncio.Semaphore(at_once)

        async def wait_for_one() -> None:
            async with free:
                for _ in range(WINDOWS):
                    await asyncio.sleep(DELAY_SECONDS)

        await asyncio.gather(*(wait_for_one() for _ in range(queries)))

    started = time.perf_counter()
    asyncio.run(wait_for_all())
    return time.perf_counter() - started


def bare_call(base_url: str, request: RerankRequest) -> float:
    """Return the mean seconds of an HTTP call without the chat client, over one open connection.

    The call sends as many bytes as the prompt of a window of the request's first 20 passages.
    """
    connection = http.client.HTTPConnection(base_url.split("/")[2])
    body = "\n".join(candidate.text for candidate in request.candidates[:20])
    started = time.perf_counter()
    for _ in range(ALONE * WINDOWS):
        connection.request("POST", "/v1/chat/completions", body)
        connection.getresponse().read()
    seconds = time.perf_counter() - started
    connection.close()
    return seconds / (ALONE * WINDOWS)


@pytest.mark.parametrize("recording", [False, True], ids=["plain", "recording"])
def test_concurrent_calls(
    benchmark: Any,
    requests: list[RerankRequest],
    base_url: str,
    recording: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    measured: Callable[[str, float], None],
) -> None:
    options: dict[str, Any] = {"model": "stub", "base_url": base_url, "concurrency": AT_ONCE}
    if recording:
        options["recording"] = tmp_path / "answers.sqlite"
    reranker = create("rankgpt", options)
    reranker.rerank(requests[:AT_ONCE], StageClock())  # connects
    started = time.process_time()
    rankings = benchmark.pedantic(reranker.rerank, args=(requests, StageClock()), rounds=1)
    processor_seconds = time.process_time() - started
    started_alone = time.perf_counter()
    for request in requests[:ALONE]:
        reranker.rerank([request], StageClock())
    alone = (time.perf_counter() - started_alone) / (ALONE * WINDOWS)
    reranker.close()
    assert all(ranking.usage.llm_calls == WINDOWS for ranking in rankings)
    seconds, calls = benchmark.stats.stats.mean, QUERIES * WINDOWS
    benchmark.extra_info["speedup"] = alone * calls / seconds
    slept_alone = sleep(ALONE, 1) / (ALONE * WINDOWS)
    benchmark.extra_info["added_ms_per_call"] = (seconds - sleep(QUERIES, AT_ONCE)) / calls * 1e3
    benchmark.extra_info["added_ms_per_call_alone"] = (alone - slept_alone) * 1e3
    benchmark.extra_info["bare_ms_per_call"] = (bare_call(base_url, requests[0]) - slept_alone) * 1e3
    benchmark.extra_info["cpu_ms_per_call"] = processor_seconds / calls * 1e3
    if not recording:
        measured("chat-client/speedup", benchmark.extra_info["speedup"])
        measured("chat-client/added-ms-per-call", benchmark.extra_info["added_ms_per_call"])
        measured("chat-client/added-ms-per-call-alone", benchmark.extra_info["added_ms_per_call_alone"])
    with capsys.disabled():
        print(f"\nchat client, {QUERIES} queries of {WINDOWS} calls{', recording' * recording}:")
        for name, value in benchmark.extra_info.items():
            print(f"{name:>24} {value:.2f}")
