"""Options of ICR and QRHead."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from rerankers.listwise.attention_heads import ALL, find_heads
from rerankers.listwise.icr_prompt import RetrievalType, Template, check_family, frame_text
from rerankers.listwise.windows.plan import WindowPlan
from rerankers.methods.loaded import LoadedOptions
from rerankers.methods.windows import FullWindowOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize

Scoring = Literal["masked_NA_calibration", "query_last", "attention_sorting", "NA_only"]


class ICROptions(FullWindowOptions, LoadedOptions):
    """Options of `icr`."""

    summary: ClassVar[str] = (
        "the attention that the query pays to each passage (ICR, arXiv 2410.02642; QRHead, arXiv 2506.09944)"
    )
    implementation: ClassVar[str] = "rerankers.listwise.icr:ICR"

    heads: str = Field(default=ALL, min_length=1)
    """`all` (ICR), or the heads of QRHead: the name of a published set in `attention_heads.toml`, a list such
    as `13-18 13-21` (layer-head, both from 0), or a file with such a list."""

    prompt: str = "auto"
    """The turns of a family of chat models in `icr_prompts.toml`; `auto` recognises the family by the control
    tokens of the tokenizer."""

    template: Template = "instruct"
    """The text around the passages; `simple` and `simple_instruct` are the published ablations."""

    retrieval_type: RetrievalType = "QA"
    """Asks for an answer (`QA`, as ICR does unless told otherwise) or for relevant information (`IE`, as
    QRHead does)."""

    scoring: Scoring = "masked_NA_calibration"
    """`masked_NA_calibration`, the method; or one of the published ablations: `query_last` (not calibrated),
    `attention_sorting` (of the last token only), `NA_only` (of the content-free query)."""

    calibration_query: str = "N/A"
    """The content-free query."""

    passage_order: Literal["best_first", "best_last"] = "best_first"
    """How a window is shown: best first, or best last as in the paper's BEIR runs."""

    top: int | None = Field(default=None, ge=1)
    """Ranks that have to be right; null is all, or ten in a sort."""

    passage_words: int = Field(default=300, ge=1)
    """Passages are cut after this many words."""

    def check(self) -> None:
        """Refuse unknown heads and an unknown prompt."""
        super().check()
        find_heads(self.heads)
        check_family(self.prompt)

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: each window is read with the query, and with the content-free query."""
        rounds = WindowPlan(self, self.top).expected(size.candidates)
        passage_counts = [len(window.positions) for windows in rounds for window in windows]
        passage = min(size.passage_tokens, self.passage_words * size.tokens_per_word)
        passage += size.tokens_of("[1] \n")
        readings = 2 if self.scoring == "masked_NA_calibration" else 1
        frame = size.tokens_of(frame_text(self.template, self.retrieval_type)) + size.query_tokens
        return Work(
            windows=len(passage_counts),
            llm_calls=len(passage_counts),
            sequential_calls=len(rounds),
            prompt_tokens=readings * (len(passage_counts) * frame + sum(passage_counts) * passage),
            depends_on_answers=not self.slides,
        )
