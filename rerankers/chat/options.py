"""Options that every reranker with a chat model has, declared once.

In experiment files and on the command line they stand beside the reranker's own options; `registry.create`
hands them on together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rerankers.endpoints.prices import Price
from rerankers.legacy_options import OptionGroup
from rerankers.models.devices import AttentionName, DtypeName
from rerankers.text.control_tokens import ControlTokenMode

BackendName = Literal["openai", "transformers"]

CHANGES_NO_RESULT = frozenset({"recording", "retries", "timeout_seconds"})
"""Options of rerankers behind endpoints that a run may be resumed with another value of."""


class ChatOptions(OptionGroup):
    """Which chat model answers, and how it is asked.

    Attributes:
        model: the endpoint's name of the model (`openai`); hub id, folder or wheel (`transformers`).
        backend: `openai` for any endpoint that speaks OpenAI's chat API, `transformers` for this process.
        concurrency: queries under way at once: side by side at an endpoint, in one batch in this process.
        temperature: 0 is greedy; None leaves it to the endpoint, as some models demand.
        base_url: root of an endpoint's API, such as `http://localhost:8000/v1`; None is `$OPENAI_BASE_URL`,
            else OpenAI itself. The key is read from `OPENAI_API_KEY`.
        timeout_seconds: longest wait for one answer of an endpoint, from the request to its last byte.
        retries: further attempts after a failure of an endpoint that may pass.
        stream: read an endpoint's answers as they grow: prefill and decode apart, ended once known.
        recording: file of an endpoint's answers, replayed and added to; no answer is paid for twice.
        price: dollars per million tokens, where `prices.toml` does not list the endpoint's model.
        extra_body: more fields of an endpoint's requests, such as
            `{chat_template_kwargs: {enable_thinking: false}}` for vLLM.
        template_variables: variables of the chat template of a model in this process, such as
            `{enable_thinking: false}`.
        reasoning_tokens: tokens that the model may think before its answer; 0 is an answer at once. A model
            in this process is made to answer after them; an endpoint's limit grows by them. Thoughts are no
            part of the answer.
        control_tokens: how control tokens in queries and passages are read by a model in this process; see
            `rerankers.text.control_tokens`. An endpoint reads them in its own way.
        revision: hub revision of a model in this process.
        dtype, device, attention: of a model in this process; see `rerankers.llm.causal`.
    """

    model: str
    backend: BackendName = "openai"
    concurrency: int = Field(default=8, ge=1)
    temperature: float | None = Field(default=0.0, ge=0)
    base_url: str | None = None
    timeout_seconds: float = Field(default=120.0, gt=0)
    retries: int = Field(default=6, ge=0)
    stream: bool = False
    recording: Path | None = None
    price: Price | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)
    template_variables: dict[str, Any] = Field(default_factory=dict)
    reasoning_tokens: int = Field(default=0, ge=0)
    control_tokens: ControlTokenMode = "text"
    revision: str | None = None
    dtype: DtypeName = "auto"
    device: str = "auto"
    attention: AttentionName = "auto"


class ComparisonOptions(ChatOptions):
    """Options of rerankers that show a chat model a few passages at a time and sort by its answers.

    Attributes:
        top: places that are settled: passes, ten in the papers, or places taken from a heap.
        passage_words: passages are cut after this many words, counted by `rerankers.text.words`.
        max_new_tokens: longest answer.
    """

    top: int = Field(default=10, ge=1)
    passage_words: int = Field(default=100, ge=1)
    max_new_tokens: int = Field(default=8, ge=1)
