"""The HTTP client of chat endpoints, which sends through the `openai` package within our bounds.

The package writes, signs and sends each request. Its own retries are off, since `rerankers.endpoints.paid`
retries within the budget. Its typed method for chat is passed over: it validates every message again, which
takes more time than all else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import openai

from rerankers.endpoints.client import HttpClient

if TYPE_CHECKING:
    from openai._types import Headers

    from rerankers.endpoints.endpoint import Endpoint

_NO_KEY = "none"  # the package insists on a key, which servers without keys are not sent


class OpenAIClient(HttpClient):
    """An HTTP client of one endpoint that sends through `openai.AsyncOpenAI`.

    Args:
        endpoint: posts go to its address, which is that of chat completions.
        names_organization: whether OPENAI_ORG_ID and OPENAI_PROJECT_ID are sent, which only OpenAI may know.
    """

    def __init__(self, endpoint: Endpoint, names_organization: bool) -> None:
        super().__init__(endpoint)
        key, is_dated = endpoint.key, "api-version" in endpoint.url.params
        self._openai = openai.AsyncOpenAI(
            api_key=key or _NO_KEY,
            base_url=endpoint.url,
            max_retries=0,
            timeout=self._connections.timeout,
            # Azure's dated API takes the key in a header of its own.
            default_headers={"api-key": key} if key and is_dated else {},
            http_client=self._connections,
        )
        if not names_organization:
            self._openai.organization = self._openai.project = None
        self._headers: Headers = {} if key else {"Authorization": openai.Omit()}

    async def _send(self, body: bytes) -> httpx2.Response:
        """Post a request body, and return the response with its body not read yet."""
        streaming: bool = True  # the response as it comes, not the package's stream of checked objects
        try:
            response = await self._openai.post(
                str(self.endpoint.url),
                content=body,
                options={"headers": self._headers},
                cast_to=httpx2.Response,
                stream=streaming,
            )
        except openai.APIConnectionError as error:
            broken = error.__cause__ or error
        else:
            assert isinstance(response, httpx2.Response)  # noqa: S101 - what was asked for
            return response
        raise broken
