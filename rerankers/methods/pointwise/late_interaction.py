"""Options of late interaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rerankers.methods.pointwise.sentence_model import SentenceModelOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize


class LateInteractionOptions(SentenceModelOptions):
    """Options of `late-interaction`."""

    summary: ClassVar[str] = "MaxSim over token embeddings (ColBERT, arXiv 2004.12832)"
    implementation: ClassVar[str] = "rerankers.pointwise.late_interaction:LateInteraction"

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: each passage is embedded when its query comes."""
        return Work(passages_embedded=size.candidates)
