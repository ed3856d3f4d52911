"""A real HTTP endpoint on loopback that drips, floods, redirects, lies about usage and echoes the key."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Asked(NamedTuple):
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Hostile:
    """Answers each request by `act`, which writes to the connection whatever it likes.

    Attributes:
        act: takes the request and yields the bytes to send, in pieces.
        asked: the requests that came.
        sent: bytes sent in all.
    """

    def __init__(self) -> None:
        self.act: Callable[[Asked], Iterator[bytes]] = lambda request: iter([reply(completion())])
        self.asked: list[Asked] = []
        self.sent = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.root = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                while line := stream.readline():
                    head = {}
                    while header := stream.readline().strip():
                        name, _, value = header.decode("latin-1").partition(":")
                        head[name.lower()] = value.strip()
                    if line.startswith(b"GET"):  # nobody but a vLLM lists its models
                        connection.sendall(reply(b"", "404 Not Found"))
                        continue
                    body = json.loads(stream.read(int(head["content-length"])))
                    self.asked.append(Asked(line.split()[1].decode(), head, body))
                    for piece in self.act(self.asked[-1]):
                        connection.sendall(piece)
                        self.sent += len(piece)
            except OSError:
                return  # the client has heard enough


def reply(body: Any, status: str = "200 OK", **headers: str) -> bytes:
    """Return a whole response; a body that is not bytes is written as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def completion(content: Any = "[2] > [1]", **fields: Any) -> dict[str, Any]:
    """Return a chat completion; `fields` replace or add to its own."""
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return {"model": "m", "choices": [choice], "usage": usage, **fields}


def scores(passages: int) -> dict[str, Any]:
    """Return a rerank response that prefers later passages."""
    return {"results": [{"index": i, "relevance_score": i / 10} for i in range(passages)]}


def drip(content: bytes, seconds: float = 0.05) -> Iterator[bytes]:
    """One byte at a time."""
    for byte in content:
        yield bytes([byte])
        time.sleep(seconds)


def chunked(pieces: Iterator[bytes], *headers: str) -> Iterator[bytes]:
    """Yield a response without an announced length."""
    yield "\r\n".join(["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *headers]).encode() + b"\r\n\r\n"
    for piece in pieces:
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    yield b"0\r\n\r\n"


def flood(piece: bytes, megabytes: int = 400) -> Iterator[bytes]:
    """Yield the same bytes again and again."""
    for _ in range(megabytes * 2**20 // len(piece)):
        yield piece


def bomb() -> bytes:
    """256 MB of spaces, packed into 256 KB."""
    return gzip.compress(b" " * 2**28, 9)


def spellings(key: str) -> list[str]:
    """Return the parts of a key that must be nowhere: any twelve characters of it."""
    return [key[start : start + 12] for start in range(len(key) - 11)]


def passages_in(request: Asked) -> int:
    """How many passages a rerank or RankGPT request shows."""
    if "documents" in request.body:
        return len(request.body["documents"])
    return sum(bool(re.match(r"\[\d+\] ", message["content"])) for message in request.body["messages"])
