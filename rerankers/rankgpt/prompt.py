"""RankGPT's multi-turn prompt (arXiv 2304.09542, appendix A), word for word as its code sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.llm.chat import Message


def passage_words(text: str) -> list[str]:
    """A passage's words, without the label that an empty title leaves in some collections."""
    return text.replace("Title: Content: ", "").split()


def ranking_messages(query: str, passages: Sequence[str]) -> list[Message]:
    """The conversation that asks for a ranking of n passages: 2 n + 4 messages, ids from 1 to n."""
    n = len(passages)
    messages: list[Message] = [
        {
            "role": "system",
            "content": "You are RankGPT, an intelligent assistant that can rank passages based on their "
            "relevancy to the query.",
        },
        {
            "role": "user",
            "content": f"I will provide you with {n} passages, each indicated by number identifier []. \n"
            f"Rank the passages based on their relevance to query: {query}.",
        },
        {"role": "assistant", "content": "Okay, please provide the passages."},
    ]
    for position, passage in enumerate(passages, start=1):
        messages.append({"role": "user", "content": f"[{position}] {passage}"})
        messages.append({"role": "assistant", "content": f"Received passage [{position}]."})
    messages.append(
        {
            "role": "user",
            "content": f"Search Query: {query}. \n"
            f"Rank the {n} passages above based on their relevance to the search query. The passages should "
            "be listed in descending order using identifiers. The most relevant passages should be listed "
            "first. The output format should be [] > [], e.g., [1] > [2]. Only response the ranking results, "
            "do not say any word or explain.",
        }
    )
    return messages
