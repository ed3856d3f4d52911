"""A chat endpoint that answers every call after a fixed delay, in a process of its own: nothing else costs.

    python stub_endpoint.py DELAY_SECONDS

Prints its port, then serves until it is killed. It reads no JSON: a client is measured, not a server.
"""

from __future__ import annotations

import asyncio
import json
import sys

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
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER
)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_seconds: float) -> None:
    """Serve one connection: answer every HTTP request with the same completion after `delay_seconds`."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            await asyncio.sleep(delay_seconds)
            writer.write(RESPONSE)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(delay_seconds: float) -> None:
    """Serve on a free port of loopback until killed, and print the port."""
    server = await asyncio.start_server(lambda r, w: answer(r, w, delay_seconds), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
