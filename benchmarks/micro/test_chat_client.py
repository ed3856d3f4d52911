"""Time that the chat client adds to an endpoint's own, measured against one that takes 200 ms a call.

43 queries of 9 windows, as on DL19 with RankGPT's windows over 100 passages. The endpoint runs in a process
of its own and tells how long it took for each call, which is subtracted from the time that passed here. What
is promised is printed and kept in `extra_info`, prompts and parsing included:

- `speedup`: 16 queries at once against one after another; at least 12. Queries of nine calls in a row allow
  14.3, for 43 of them go in three rounds.
- `added_ms_per_call`: 16 queries at once, beyond three rounds of nine of the endpoint's calls.
- `added_ms_per_call_alone`: a query's calls one after another, beyond the endpoint's time.
- `bare_ms_per_call_alone`: the same of a bare connection that sends as many bytes, which no client can go
  below.
- `cpu_ms_per_call`, `cpu_ms_per_call_alone`: processor time of this process, which bounds the calls per
  second and depends less than the others on what else runs on the machine.
- `waited_ms_per_call`, `waited_ms_per_call_alone`: the part of the added time in which this process could
  have run and waited for a processor, because the machine was busy with other work. Linux counts it.
"""

from __future__ import annotations

import http.client
import json
import math
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
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


def served_seconds(base_url: str) -> list[float]:
    """Return the endpoint's own seconds of each call since the last time that it was asked."""
    connection = http.client.HTTPConnection(base_url.split("/")[2])
    connection.request("GET", "/served")
    seconds: list[float] = json.load(connection.getresponse())
    connection.close()
    return seconds


@dataclass
class Spent:
    """The time that some calls took.

    Attributes:
        wall_seconds: from the first request to the last response.
        cpu_seconds: of this process.
        waited_seconds: that this thread waited for a processor; 0 where the system does not count them.
        served_seconds: the endpoint's own, of each call.
    """

    wall_seconds: float
    cpu_seconds: float
    waited_seconds: float
    served_seconds: list[float]

    def added_ms(self, calls_in_a_row: int) -> float:
        """Return the milliseconds a call beyond the endpoint's time.

        Args:
            calls_in_a_row: the calls that have to follow one another, whatever runs beside them.
        """
        endpoint_seconds = calls_in_a_row * statistics.mean(self.served_seconds)
        return self.ms_per_call(self.wall_seconds - endpoint_seconds)

    def ms_per_call(self, seconds: float) -> float:
        """Return seconds of all calls as milliseconds a call."""
        return 1e3 * seconds / len(self.served_seconds)


def waited_seconds() -> float:
    """Return how long this thread has waited for a processor so far; 0 on systems other than Linux."""
    path = Path("/proc/thread-self/schedstat")
    return int(path.read_text(encoding="ascii").split()[1]) / 1e9 if path.exists() else 0.0


def spent(base_url: str, work: Callable[[], object]) -> Spent:
    """Return the time that the calls of `work` take."""
    served_seconds(base_url)
    before = time.perf_counter(), time.process_time(), waited_seconds()
    work()
    after = time.perf_counter(), time.process_time(), waited_seconds()
    wall, cpu, waited = (later - earlier for earlier, later in zip(before, after, strict=True))
    return Spent(wall, cpu, waited, served_seconds(base_url))


def call_barely(base_url: str, request: RerankRequest) -> None:
    """Make the calls of the queries that are run alone without the chat client, over one open connection.

    Each call sends as many bytes as the prompt of a window of the request's first 20 passages.
    """
    connection = http.client.HTTPConnection(base_url.split("/")[2])
    body = "\n".join(candidate.text for candidate in request.candidates[:20])
    for _ in range(ALONE * WINDOWS):
        connection.request("POST", "/v1/chat/completions", body)
        connection.getresponse().read()
    connection.close()


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
    measurements: list[Spent] = []

    def all_at_once() -> None:
        measurements.append(spent(base_url, lambda: reranker.rerank(requests, StageClock())))

    benchmark.pedantic(all_at_once, rounds=1)
    [at_once] = measurements
    alone = spent(base_url, lambda: [reranker.rerank([query], StageClock()) for query in requests[:ALONE]])
    reranker.close()
    bare = spent(base_url, lambda: call_barely(base_url, requests[0]))
    calls = len(at_once.served_seconds)
    assert calls == QUERIES * WINDOWS
    rounds = math.ceil(QUERIES / AT_ONCE)
    benchmark.extra_info |= {
        "speedup": alone.wall_seconds / (ALONE * WINDOWS) * calls / at_once.wall_seconds,
        "added_ms_per_call": at_once.added_ms(rounds * WINDOWS),
        "added_ms_per_call_alone": alone.added_ms(ALONE * WINDOWS),
        "bare_ms_per_call_alone": bare.added_ms(ALONE * WINDOWS),
        "cpu_ms_per_call": at_once.ms_per_call(at_once.cpu_seconds),
        "cpu_ms_per_call_alone": alone.ms_per_call(alone.cpu_seconds),
        "waited_ms_per_call": at_once.ms_per_call(at_once.waited_seconds),
        "waited_ms_per_call_alone": alone.ms_per_call(alone.waited_seconds),
    }
    if not recording:
        measured("chat-client/speedup", benchmark.extra_info["speedup"])
        measured("chat-client/added-ms-per-call", benchmark.extra_info["added_ms_per_call"])
        measured("chat-client/added-ms-per-call-alone", benchmark.extra_info["added_ms_per_call_alone"])
        measured("chat-client/cpu-ms-per-call", benchmark.extra_info["cpu_ms_per_call"])
    with capsys.disabled():
        print(f"\nchat client, {QUERIES} queries of {WINDOWS} calls{', recording' * recording}:")
        for name, value in benchmark.extra_info.items():
            print(f"{name:>24} {value:.2f}")
