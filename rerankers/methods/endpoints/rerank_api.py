"""Options of rerank endpoints; what differs between vendors is data (`rerank_apis.toml`)."""

from __future__ import annotations

import math
import os
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

import rerankers.endpoints
from rerankers.endpoints.endpoint import address
from rerankers.endpoints.keys import read_key
from rerankers.endpoints.prices import RerankPrice
from rerankers.errors import InputError
from rerankers.options import Affects, MethodOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize

ApiName = Literal["jina", "cohere", "voyage", "vllm", "infinity", "tei"]


class ApiShape(BaseModel):
    """One table of `rerank_apis.toml`, which explains the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: str
    url: str | None = None
    path: str = ""
    key: str
    documents: str
    results: str | None = None
    score: str
    total_tokens: list[str] | None = None
    limit: int
    passage_tokens: str | None = None
    has_room: bool = False
    body: dict[str, bool | int]


@cache
def _shapes() -> dict[str, ApiShape]:
    path = Path(rerankers.endpoints.__path__[0]) / "rerank_apis.toml"
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: ApiShape.model_validate(table) for name, table in tables.items()}


class RerankAPIOptions(MethodOptions):
    """Options of `rerank-api`."""

    summary: ClassVar[str] = "a rerank endpoint: Jina, Cohere, Voyage, vLLM, infinity, TEI"
    implementation: ClassVar[str] = "rerankers.endpoints.rerank_api:RerankAPI"

    api: ApiName
    """Whose HTTP shape the endpoint has."""

    model: str | None = None
    """Its name there; TEI serves one model and takes no name."""

    base_url: str | None = None
    """Root of a self-hosted server (`http://host:8000`), or another vendor URL in full."""

    passages_per_call: int | None = Field(default=None, ge=1)
    """More passages are sent in several calls, which suits pointwise models only; null is the limit in
    `rerank_apis.toml`."""

    passage_tokens: int | None = Field(default=None, ge=1)
    """Longest passage in tokens, for servers that cut each passage (vLLM, Cohere); null leaves it to the
    server. A vLLM that can is told what fits its context; an older one cuts the end of the whole prompt, and
    of a score template with it."""

    concurrency: int = Field(default=8, ge=1)
    """Queries under way at once."""

    timeout_seconds: Annotated[float, Affects("nothing")] = Field(default=120.0, gt=0)
    """Longest wait for one response."""

    retries: Annotated[int, Affects("nothing")] = Field(default=6, ge=0)
    """Further attempts after a failure that may pass."""

    recording: Annotated[Path | None, Affects("nothing")] = None
    """File of the endpoint's responses, replayed and added to; no response is paid for twice."""

    price: RerankPrice | None = None
    """What the endpoint charges, such as `{tokens: 0.05}`, in dollars per million tokens, or `{calls: 2}`,
    per thousand calls."""

    @property
    def shape(self) -> ApiShape:
        """The HTTP shape of the endpoint."""
        return _shapes()[self.api]

    @property
    def most_passages(self) -> int:
        """The most passages in one call."""
        return self.passages_per_call or self.shape.limit

    def check(self) -> None:
        """Refuse an API without the model, the address or the well-formed key that it needs."""
        super().check()
        if self.base_url is None and self.shape.url is None:
            raise InputError(f"{self.api} is self-hosted; set base_url, for example http://localhost:8000")
        if self.model is None and self.api != "tei":
            raise InputError(f"{self.api} serves several models; set model")
        if self.passage_tokens is not None and self.shape.passage_tokens is None:
            raise InputError(f"{self.api} takes no passage_tokens; vllm and cohere do")
        if self.base_url is not None:
            address("base_url", self.base_url, self.shape.path)
        read_key(self.shape.key)

    @property
    def models(self) -> tuple[tuple[str, str | None], ...]:
        """No model is loaded in this process."""
        return ()

    @property
    def is_remote(self) -> bool:
        """An endpoint scores."""
        return True

    @property
    def is_priced(self) -> bool:
        """True if a price is given; a server of one's own (`base_url`) is not charged for."""
        return self.price is not None or self.base_url is not None

    @property
    def is_replayed(self) -> bool:
        """True if a response cache may stand in for calls."""
        return self.recording is not None

    @property
    def missing_key(self) -> str | None:
        """The key that a vendor needs; a server of one's own may need none."""
        is_ready = self.base_url or self.recording or os.environ.get(self.shape.key)
        return None if is_ready else self.shape.key

    @property
    def may_use_gpu(self) -> bool:
        """False: the endpoint computes."""
        return False

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: passages are sent in few calls, one after the other."""
        calls = math.ceil(size.candidates / self.most_passages)
        pair = size.query_tokens + min(size.passage_tokens, self.passage_tokens or size.passage_tokens)
        return Work(llm_calls=calls, sequential_calls=calls, prompt_tokens=size.candidates * pair)

    def dollars(self, size: RequestSize) -> float | None:
        """Return what the calls cost at the price given; None without one."""
        work = self.work(size)
        if self.price is None:
            return None
        return work.prompt_tokens * self.price.tokens / 1e6 + work.llm_calls * self.price.calls / 1e3
