"""Options of cross-encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rerankers.methods.pointwise.sentence_model import SentenceModelOptions
from rerankers.methods.runtimes import RuntimeOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize

_SPECIAL_TOKENS = 3


class CrossEncoderOptions(RuntimeOptions, SentenceModelOptions):
    """Options of `cross-encoder`."""

    summary: ClassVar[str] = "a sequence classifier reads query and passage together"
    implementation: ClassVar[str] = "rerankers.pointwise.cross_encoder:CrossEncoderReranker"

    max_length: int | None = Field(default=None, ge=8)
    """Tokens of a pair, special tokens included, beyond which the longer text is cut; null is the tokenizer's
    own maximum."""

    label: int | None = Field(default=None, ge=0)
    """Class whose log-probability is the score, for a classifier with several classes (monoBERT: 1); null for
    a classifier with one output, whose logit is the score."""

    query_prefix: str = ""
    """Text put before each query, such as RankLLaMA's `query: `."""

    passage_prefix: str = ""
    """Text put before each passage, such as RankLLaMA's `document: `."""

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: each passage is read once with the query."""
        pair = size.query_tokens + size.passage_tokens + _SPECIAL_TOKENS
        pair += size.tokens_of(f"{self.query_prefix} {self.passage_prefix}")
        return Work(prompt_tokens=size.candidates * min(pair, self.max_length or pair))
