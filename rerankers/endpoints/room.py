"""Finds out how many tokens of a passage a vLLM server can read, so that only passages are ever cut.

One request shows both whether the server cuts single passages and how many tokens its prompt has around them:
a passage of 256 words, limited to one token, takes fewer than 256 tokens only where the limit is known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerankers.endpoints.failures import StatusError

if TYPE_CHECKING:
    from rerankers.endpoints.client import HttpClient

_PROBE_WORDS = 256
_QUERY_BYTES_PER_TOKEN = 2  # fewer than in any usual text; a server refuses a prompt that is too long aloud


@dataclass(frozen=True, slots=True)
class Room:
    """The context length of a server's model, and the part of it that a prompt takes without its texts.

    Attributes:
        context_tokens: length of the context.
        prompt_tokens: length of a prompt with one token of query and one of passage.
    """

    context_tokens: int
    prompt_tokens: int

    def passage_tokens(self, query: str) -> int:
        """Return the tokens that are left for a passage beside this query, at least one."""
        query_tokens = len(query.encode(errors="replace")) // _QUERY_BYTES_PER_TOKEN
        return max(1, self.context_tokens - self.prompt_tokens - query_tokens)


async def find_room(http: HttpClient, root: str, model: str, limit: str) -> Room | None:
    """Ask a server for its model's context length and prompt length.

    None if it does not tell or cannot cut passages.

    Args:
        http: the client, whose address reranks.
        root: the path that the API's paths begin with.
        model: its name there.
        limit: the field of a request that limits passages.

    Raises:
        httpx2.HTTPError: the connection broke, or the response took too long.
    """
    try:
        listed = await http.get(f"{root}/v1/models")
        cards = listed["data"] if isinstance(listed, dict) else []
        context = next(card["max_model_len"] for card in cards if card["id"] == model)
        probe = {"model": model, "query": "a", "documents": ["a " * _PROBE_WORDS], limit: 1}
        tokens = (await http.post(json.dumps(probe).encode()))["usage"]["total_tokens"]
    except (StatusError, LookupError, StopIteration, TypeError, ValueError):
        return None
    if not _is_count(context) or not _is_count(tokens) or not tokens < min(_PROBE_WORDS, context):
        return None
    return Room(context, tokens)


def _is_count(value: Any) -> bool:
    """Return whether a JSON value is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
