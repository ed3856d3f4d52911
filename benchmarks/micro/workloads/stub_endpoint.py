"""A chat endpoint that answers every call after a fixed delay, in a process of its own: nothing else costs.

    python stub_endpoint.py DELAY_SECONDS

Prints its port, then serves until it is killed. It reads no JSON: a client is measured, not a server. A GET
of `/served` returns the endpoint's own seconds of each call since the last such GET, from the last byte of
the request to the first one of the response.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

ANSWER = json.dumps(
    {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "stub",
        "system_fingerprint": "fp_stub",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": " > ".join(f"[{i}]" for i in range(20, 0, -1)),
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 4000, "completion_tokens": 100, "total_tokens": 4100},
    }
).encode()


def response(body: bytes) -> bytes:
    """Return an HTTP response with a body of JSON."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


async def answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_seconds: float, served: list[float]
) -> None:
    """Serve one connection: answer every call with the same completion after `delay_seconds`.

    Args:
        reader: requests come from it.
        writer: takes the responses.
        delay_seconds: wait before each completion.
        served: takes the seconds of each call; emptied by a GET of `/served`.
    """
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /served "):
                writer.write(response(json.dumps(served).encode()))
                served.clear()
                continue
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            started = time.perf_counter()
            await asyncio.sleep(delay_seconds)
            completion = response(ANSWER)
            served.append(time.perf_counter() - started)
            writer.write(completion)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(delay_seconds: float) -> None:
    """Serve on a free port of loopback until killed, and print the port."""
    served: list[float] = []
    server = await asyncio.start_server(lambda r, w: answer(r, w, delay_seconds, served), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
