"""Options that every method with a chat model has: which model answers, and how it is asked."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from rerankers.endpoints.keys import read_key
from rerankers.endpoints.prices import Price, find_price
from rerankers.errors import InputError, MissingExtraError
from rerankers.llm.adapter_base import loaded_models
from rerankers.methods.loaded import PassMode
from rerankers.models.devices import AttentionName, DtypeName
from rerankers.options import Affects, MethodOptions
from rerankers.text.control_tokens import ControlTokenMode

if TYPE_CHECKING:
    from rerankers.work import RequestSize

BackendName = Literal["openai", "transformers"]

CHAT_KEY = "OPENAI_API_KEY"
_CUSTOM_HEADERS = "OPENAI_CUSTOM_HEADERS"  # which the `openai` package would send everywhere
_ENDPOINTS_ONLY = ("base_url", "recording", "price", "extra_body")
_COUNTED_BY_US = ("n", "best_of", "stream_options")  # more answers would cost more than is set aside
_WRITTEN_BY_US = ("model", "messages", "temperature", "max_tokens", "max_completion_tokens", "stream")


class ChatOptions(MethodOptions):
    """Options of the chat model, and of the requests to it."""

    model: str
    """The endpoint's name of the model (`openai`); hub id, folder or wheel (`transformers`)."""

    backend: BackendName = "openai"
    """`openai` for any endpoint that speaks OpenAI's chat API, `transformers` for this process."""

    concurrency: Annotated[int, Affects("speed")] = Field(default=8, ge=1)
    """Queries under way at once: side by side at an endpoint, in one batch in this process."""

    temperature: float | None = Field(default=0.0, ge=0)
    """0 is greedy; null leaves it to the endpoint, as some models demand."""

    base_url: str | None = None
    """Root of an endpoint's API, such as `http://localhost:8000/v1`; null is `$OPENAI_BASE_URL`, else OpenAI
    itself. The key is read from `OPENAI_API_KEY`."""

    timeout_seconds: Annotated[float, Affects("nothing")] = Field(default=120.0, gt=0)
    """Longest wait for one response of an endpoint, from the request to its last byte."""

    retries: Annotated[int, Affects("nothing")] = Field(default=6, ge=0)
    """Further attempts after a failure of an endpoint that may pass."""

    stream: bool = False
    """Read an endpoint's answers as they grow: prefill and decode apart, ended once known."""

    recording: Annotated[Path | None, Affects("nothing")] = None
    """File of an endpoint's responses, replayed and added to; no response is paid for twice."""

    price: Annotated[Price | None, Affects("speed")] = None
    """Dollars per million tokens, where `prices.toml` does not list the endpoint's model."""

    extra_body: dict[str, Any] = Field(default_factory=dict)
    """More fields of an endpoint's requests, such as `{chat_template_kwargs: {enable_thinking: false}}` for
    vLLM."""

    template_variables: dict[str, Any] = Field(default_factory=dict)
    """Variables of the chat template of a model in this process, such as `{enable_thinking: false}`."""

    reasoning_tokens: int = Field(default=0, ge=0)
    """Tokens that the model may think before its answer; 0 is an answer at once. A model in this process is
    made to answer after them; an endpoint's limit grows by them. Thoughts are no part of the answer."""

    control_tokens: ControlTokenMode = "text"
    """How a model in this process reads control tokens in queries and passages: as `text`, or as `control`
    tokens, which the published code does. An endpoint reads them in its own way."""

    revision: str | None = None
    """Hub revision of a model in this process."""

    dtype: DtypeName = "auto"
    """Dtype of a model in this process; `auto` is bfloat16 on CUDA and float32 on a CPU."""

    device: Annotated[str, Affects("speed")] = "auto"
    """Device of a model in this process: `auto` (CUDA where there is one, else the CPU), `cpu`, `cuda` or
    `cuda:N`."""

    attention: AttentionName = "auto"
    """transformers' attention implementation of a model in this process; `auto` lets transformers choose."""

    forward_passes: Annotated[PassMode, Affects("speed")] = "auto"
    """How a model in this process runs: transformers' own passes (`eager`), or passes of few operations on
    fixed buffers (`static`: Llama, Mistral, Qwen2 and Qwen3). `auto` is `static` where the model has them."""

    def check(self) -> None:
        """Refuse options that do not belong to the backend."""
        super().check()
        refuse_foreign_options(self)

    @property
    def models(self) -> tuple[tuple[str, str | None], ...]:
        """The chat model, with an adapter's base model, if it is in this process."""
        return () if self.is_remote else loaded_models(self.model, self.revision)

    @property
    def is_remote(self) -> bool:
        """True if an endpoint answers."""
        return self.backend == "openai"

    @property
    def known_price(self) -> Price | None:
        """The price given, or the one that is listed for the model."""
        return self.price or find_price(self.model)

    @property
    def is_priced(self) -> bool:
        """True if a price is given or listed; a model in this process costs nothing."""
        return not self.is_remote or self.known_price is not None

    @property
    def is_replayed(self) -> bool:
        """True if a response cache may stand in for calls."""
        return self.is_remote and self.recording is not None

    @property
    def missing_key(self) -> str | None:
        """The key that OpenAI itself needs; other endpoints may need none."""
        has_address = self.base_url or os.environ.get("OPENAI_BASE_URL")
        is_ready = has_address or self.recording or os.environ.get("OPENAI_API_KEY")
        return None if is_ready or not self.is_remote else "OPENAI_API_KEY"

    @property
    def may_use_gpu(self) -> bool:
        """True if the model is in this process, and not on the CPU by choice."""
        return not self.is_remote and super().may_use_gpu

    def dollars(self, size: RequestSize) -> float | None:
        """Return what the calls of one request cost at an endpoint; None where no price is known."""
        price = self.known_price if self.is_remote else None
        work = self.work(size)
        if price is None or work is None:
            return None
        return price.dollars(round(work.prompt_tokens), 0, round(work.generated_tokens))


def refuse_foreign_options(options: ChatOptions) -> None:
    """Refuse options that do not belong to the backend, and a malformed address or key; nothing is loaded.

    Raises:
        InputError: there is one.
        MissingExtraError: the `openai` package is not installed.
    """
    if options.backend == "openai":
        if find_spec("openai") is None:
            raise MissingExtraError("backend 'openai'", "openai")
        if os.environ.get(_CUSTOM_HEADERS):
            raise InputError(
                f"{_CUSTOM_HEADERS} is set. Unset it: secrets in these headers cannot be kept out of "
                "messages and records."
            )
        if options.revision is not None:
            raise InputError("the openai backend knows no revision; name the exact model instead")
        for name in _WRITTEN_BY_US:
            if name in options.extra_body:
                raise InputError(f"extra_body: {name!r} is set by an option of its own. Leave it out here.")
        for name in _COUNTED_BY_US:
            if name in options.extra_body:
                raise InputError(f"extra_body: {name!r} changes what an answer costs. Leave it out.")
        if options.template_variables:
            raise InputError(
                "the openai backend renders no chat template, so template_variables do nothing. Give them as "
                "extra_body: {chat_template_kwargs: {...}}, which vLLM and SGLang read."
            )
        if options.base_url is not None:
            from rerankers.endpoints.endpoint import address

            address("base_url", options.base_url, "")
        read_key(CHAT_KEY)
        return
    for name in _ENDPOINTS_ONLY:
        if getattr(options, name) not in (None, {}):
            raise InputError(f"the transformers backend has no {name}; use backend: openai")
    if options.stream:
        raise InputError("the transformers backend sees answers grow anyway; leave stream out")
    if options.temperature != 0.0:
        raise InputError("the transformers backend decodes greedily; leave temperature at 0")
