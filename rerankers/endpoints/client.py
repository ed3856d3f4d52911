"""The HTTP client of endpoints: posts JSON to one address, and bounds the time and size of the response.

`rerankers.chat.openai_client` sends through the `openai` package instead, within the same bounds.

A response takes `timeout_seconds` at most, however slowly it drips, and a size that depends on the request.
Responses are asked for uncompressed; one that is compressed all the same is unpacked up to that size.
Redirects are followed within the same host only: passages and the key go nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import zlib
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx2

from rerankers.endpoints.error_body import read_error
from rerankers.endpoints.failures import OversizedResponseError, StatusError, UnusableResponseError
from rerankers.errors import BackendError
from rerankers.text.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from rerankers.endpoints.endpoint import Endpoint

LEAST_BOUND_BYTES = 2**22
"""Most bytes of a response, to which twice those of its request are added: rerank servers repeat passages."""
LONGEST_CONNECT_SECONDS = 30.0
_MOST_ERROR_BYTES = 2**16
_MOST_REDIRECTS = 3
_BROKEN_TLS = (ssl.SSLError, anyio.EndOfStream)  # which httpx2 lets through as they are


class HttpClient:
    """An HTTP client of one endpoint, with a pool of connections and bounds on each response."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        seconds, connections = endpoint.timeout_seconds, endpoint.concurrency
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if endpoint.key is not None:
            headers["Authorization"] = f"Bearer {endpoint.key}"
        # A connection that cannot be made fails before the deadline, so that it is known to cost nothing.
        connect = min(LONGEST_CONNECT_SECONDS, seconds / 2)
        self._connections = BoundedConnections(
            headers=headers,
            timeout=httpx2.Timeout(seconds, connect=connect, pool=None),
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    async def post(self, body: bytes) -> Any:
        """Post a JSON body and return the decoded JSON of the response.

        Raises:
            httpx2.HTTPError: the connection broke, or the response took too long.
            StatusError: the endpoint reports a failure.
            OversizedResponseError: the response is too large.
            UnusableResponseError: it is packed in an unknown way.
            ValueError, RecursionError: it is not JSON.
            BackendError: the endpoint redirects to another host.
        """
        async with self.open(body) as pieces:
            return json.loads(b"".join([piece async for piece in pieces]))

    async def get(self, path: str) -> Any:
        """Return the decoded JSON at another path of the endpoint's host, fetched by GET.

        Raises:
            the errors of `post`.
        """
        request = self._connections.build_request("GET", self.endpoint.url.copy_with(path=path))
        send = partial(self._connections.send, request)
        async with self._bounded(send, LEAST_BOUND_BYTES) as pieces:
            return json.loads(b"".join([piece async for piece in pieces]))

    @asynccontextmanager
    async def open(self, body: bytes, further_bytes: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        """Post a JSON body, and give the block an iterator over the pieces of the response as they arrive.

        Args:
            body: the JSON.
            further_bytes: bytes that the response may have beyond the usual bound.

        Raises:
            the errors of `post`, but for those about JSON.
        """
        most = LEAST_BOUND_BYTES + 2 * len(body) + further_bytes
        async with self._bounded(partial(self._send, body), most) as pieces:
            yield pieces

    async def _send(self, body: bytes) -> httpx2.Response:
        """Post the body once, and return the response with its body not read yet."""
        request = self._connections.build_request("POST", self.endpoint.url, content=body)
        return await self._connections.send(request)

    @asynccontextmanager
    async def _bounded(
        self, send: Callable[[], Awaitable[httpx2.Response]], most: int
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the block the pieces of the response to `send`, `most` bytes and `timeout_seconds` at most."""
        try:
            async with asyncio.timeout(self.endpoint.timeout_seconds):
                response = await send()
                pieces = _pieces(response, most)
                try:
                    yield pieces
                finally:
                    await pieces.aclose()
                    await response.aclose()
        except TimeoutError:
            seconds = f"{self.endpoint.timeout_seconds:g} s"
            message = f"no whole response within {seconds}; timeout_seconds sets how long"
            raise httpx2.ReadTimeout(message) from None
        except _BROKEN_TLS as error:
            raise httpx2.ReadError(f"the encrypted connection broke: {error}") from error

    @property
    def is_closed(self) -> bool:
        """True if `close` was called."""
        return self._connections.is_closed

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.aclose()


class BoundedConnections(httpx2.AsyncClient):
    """A connection pool that follows no redirect to another host.

    Of an error body it reads the start only.
    """

    async def send(
        self,
        request: httpx2.Request,
        *,
        stream: bool = True,
        auth: Any = httpx2.USE_CLIENT_DEFAULT,
        follow_redirects: Any = False,
    ) -> httpx2.Response:
        """Send a request and return its successful response, whose body is not read yet.

        Raises:
            httpx2.HTTPError: the connection broke.
            StatusError: the endpoint reports a failure.
            BackendError: the endpoint redirects to another host.
        """
        for _ in range(_MOST_REDIRECTS):
            response = await super().send(request, stream=True, auth=auth, follow_redirects=False)
            if response.is_success:
                return response
            try:
                following = response.next_request
                if following is None:
                    text = await _read_up_to(response, _MOST_ERROR_BYTES)
                    wait = response.headers.get("retry-after", "")
                    raise StatusError(response.status_code, read_error(text), wait)
            finally:
                await response.aclose()
            request = _followed(request, following)
        raise BackendError(f"{request.url.host} redirects in a circle; check base_url")


async def lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Yield the lines of a byte stream as text, without line ends, as soon as each one is complete."""
    rest = bytearray()
    async for piece in pieces:
        rest += piece
        if b"\n" in piece:
            *whole, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            for line in whole:
                yield line.decode(errors="replace").rstrip("\r")
    if rest:
        yield rest.decode(errors="replace")


def _followed(request: httpx2.Request, following: httpx2.Request) -> httpx2.Request:
    """Return the next request of a redirect, if it stays on the same host with the same method.

    Args:
        request: the request that was redirected.
        following: the one that the response asks for.

    Raises:
        BackendError: it would go elsewhere.
    """
    origin, target = request.url, following.url
    is_same_host = (origin.scheme, origin.host, origin.port) == (target.scheme, target.host, target.port)
    if is_same_host and following.method == request.method:
        return following
    target_text = excerpt(target.copy_with(userinfo=b"", query=None, fragment=None), 200)
    raise BackendError(
        f"{origin.host} redirects to {target_text}, where passages are not sent; if it is yours, set "
        "base_url to it"
    )


async def _pieces(response: httpx2.Response, most: int) -> AsyncGenerator[bytes]:
    """Yield the body of a response, decompressed, piece by piece as it arrives.

    Raises:
        OversizedResponseError: it has more than `most` bytes.
        UnusableResponseError: it is compressed in an unknown way, or damaged.
    """
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise UnusableResponseError(f"the response is packed as {excerpt(packing, 40)!r}, not as asked for")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32) if "gzip" in packing or "deflate" in packing else None
    received = sent = 0
    async for raw in response.aiter_raw():
        sent += len(raw)
        try:
            piece = unpacker.decompress(raw, most - received + 1) if unpacker else raw
        except zlib.error as error:
            raise UnusableResponseError(f"the response cannot be unpacked: {error}") from error
        received += len(piece)
        if max(received, sent) > most:
            raise OversizedResponseError(f"a response of more than {most:,} bytes")
        yield piece


async def _read_up_to(response: httpx2.Response, most: int) -> str:
    """Return the first `most` bytes of an error response's body as text; what cannot be read is left out."""
    pieces: list[bytes] = []
    try:
        async for piece in _pieces(response, most):
            pieces.append(piece)
    except (UnusableResponseError, httpx2.HTTPError):
        pass  # its start, or its status alone, says enough
    return b"".join(pieces).decode(errors="replace")
