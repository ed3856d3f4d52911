"""A real HTTP endpoint that speaks OpenAI's chat API, on loopback, with answers and faults to order."""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from rerankers import create

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from rerankers import Reranker, RerankRequest

    MakeReranker = Callable[..., Reranker]
    MakeRequest = Callable[..., RerankRequest]
    Requests = list[RerankRequest]

Body = dict[str, Any]


@dataclass
class Reply:
    """What the endpoint does with one request.

    `content` becomes a chat completion, unless `raw` gives the body itself. `cut` sends half of the body it
    announces, `reset` breaks the connection without a word, `delay_seconds` waits before anything else,
    `token_seconds` after each token of a stream.
    """

    content: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: str | None = None
    finish_reason: str = "stop"
    refusal: str | None = None
    usage: dict[str, Any] | None = field(
        default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    )
    delay_seconds: float = 0.0
    token_seconds: float = 0.0
    cut: bool = False
    reset: bool = False


def shown_passages(body: Body) -> list[str]:
    """Return the passages in a RankGPT prompt, in the order shown."""
    matches = [re.fullmatch(r"\[\d+\] (.*)", message["content"]) for message in body["messages"]]
    return [match[1] for match in matches if match]


def best_first(body: Body) -> Reply:
    """Rank passages that consist of one number, highest first: a flawless model."""
    values = [int(passage) for passage in shown_passages(body)]
    order = sorted(range(len(values)), key=lambda i: -values[i])
    return Reply(" > ".join(f"[{i + 1}]" for i in order))


class Endpoint:
    """Answers requests by `reply` and keeps their bodies and headers."""

    def __init__(self) -> None:
        self.reply: Callable[[Body], Reply] = best_first
        self.admits: Callable[[], bool] = lambda: True
        """Called first, and never under a lock; a request that is not admitted is never answered or kept."""
        self.bodies: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.most_at_once = 0
        self.connections = 0
        self.chunks = 0
        self._at_once = 0
        self._lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                endpoint.connections += 1

            def do_POST(self) -> None:
                endpoint._handle(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that gave up in the middle of a request

        self._server = Server(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        if not self.admits():
            handler.close_connection = True
            return
        with self._lock:
            self.bodies.append(body)
            self.paths.append(handler.path)
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            reply = self.reply(body)
        time.sleep(reply.delay_seconds)
        with self._lock:
            self._at_once -= 1
        if reply.reset:  # closing a socket that lingers for no time sends RST
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            return
        if body.get("stream") and reply.status == 200 and reply.raw is None:
            self._stream(handler, body, reply)
            return
        data = (_completion(body, reply) if reply.raw is None else reply.raw).encode()
        try:
            handler.send_response(reply.status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(data)))
            for name, value in reply.headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(data[: len(data) // 2] if reply.cut else data)
        except OSError:
            handler.close_connection = True  # the client has given up
        if reply.cut:
            handler.close_connection = True

    def _stream(self, handler: BaseHTTPRequestHandler, body: Body, reply: Reply) -> None:
        """Server-sent events, one token each, in HTTP chunks; `cut` ends in the middle of the answer."""
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        events = list(_events(body, reply))
        try:
            for event in events[: len(events) // 2] if reply.cut else events:
                data = f"data: {event}\n\n".encode()
                handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.chunks += 1
                time.sleep(reply.token_seconds)
            if not reply.cut:
                handler.wfile.write(b"0\r\n\r\n")
        except OSError:
            handler.close_connection = True  # the client has read enough
        if reply.cut:
            handler.close_connection = True


def _events(body: Body, reply: Reply) -> Iterator[str]:
    options = body.get("stream_options") or {}
    tokens = re.findall(r"\s*(?:\d|[^\s\d]+)", reply.content or "")  # one digit a token
    head = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}

    def chunk(delta: dict[str, str], finish: str | None, written: int) -> str:
        usage = {"prompt_tokens": 100, "completion_tokens": written, "total_tokens": 100 + written}
        usage_field = {"usage": usage} if options.get("continuous_usage_stats") else {}
        return json.dumps(
            {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **usage_field}
        )

    yield chunk({"role": "assistant", "content": ""}, None, 0)
    for written, token in enumerate(tokens, start=1):
        yield chunk({"content": token}, None, written)
    yield chunk({}, reply.finish_reason, len(tokens))
    if options.get("include_usage"):
        usage = {"prompt_tokens": 100, "completion_tokens": len(tokens), "total_tokens": 100 + len(tokens)}
        yield json.dumps({**head, "choices": [], "usage": usage})
    yield "[DONE]"


def _completion(body: Body, reply: Reply) -> str:
    message = {"role": "assistant", "content": reply.content, "refusal": reply.refusal}
    return json.dumps(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": f"{body['model']}-2024-01-01",
            "system_fingerprint": "fp_1",
            "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
            "usage": reply.usage,
        }
    )


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    server = Endpoint()
    yield server
    server.close()


@pytest.fixture
def rankgpt(endpoint: Endpoint) -> Iterator[MakeReranker]:
    """Give a function that makes RankGPT rerankers over the endpoint, and close them."""
    rerankers: list[Reranker] = []

    def make(**options: Any) -> Reranker:
        rerankers.append(create("rankgpt", {"model": "m", "base_url": endpoint.base_url, **options}))
        return rerankers[-1]

    yield make
    for reranker in rerankers:
        reranker.close()


@pytest.fixture
def requests(make_request: MakeRequest) -> Requests:
    """Sixteen queries of thirty passages: two windows each."""
    rng = random.Random(0)
    return [
        make_request(f"query {q}", [str(value) for value in rng.sample(range(1000), 30)], query_id=f"q{q}")
        for q in range(16)
    ]


@contextmanager
def files_without_room() -> Iterator[None]:
    """No file may grow beyond 64 KiB, as on a full disk."""
    import resource  # POSIX only

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def no_room() -> Callable[[], AbstractContextManager[None]]:
    return files_without_room
