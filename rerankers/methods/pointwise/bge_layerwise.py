"""Options of BGE layerwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rerankers.methods.loaded import BatchOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize

PROMPT = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the query by "
    "providing a prediction of either 'Yes' or 'No'."
)
"""The prompt that the released model was trained with."""

_FRAME = 8  # the start token, "A:", "B:" and two line breaks


class BGELayerwiseOptions(BatchOptions):
    """Options of `bge-layerwise`."""

    summary: ClassVar[str] = "a score read behind a chosen layer (bge-reranker-v2-minicpm-layerwise)"
    implementation: ClassVar[str] = "rerankers.pointwise.bge_layerwise.reranker:BGELayerwise"

    layer: int | None = Field(default=None, ge=1)
    """Layers that are computed; the score is read behind the last of them, the others are not loaded. None is
    all of the model. The released model has 40, and heads from 8 on; its authors recommend 28."""

    prompt: str = PROMPT
    """The sentence behind query and passage."""

    max_length: int = Field(default=512, ge=16)
    """Most tokens of query and passage together; the passage is cut. A query may take three quarters."""

    def work(self, size: RequestSize) -> Work:
        """Return the tokens of a request: each passage is read once with the query."""
        pair = min(size.query_tokens + size.passage_tokens, self.max_length)
        return Work(prompt_tokens=size.candidates * (_FRAME + size.tokens_of(self.prompt) + pair))
