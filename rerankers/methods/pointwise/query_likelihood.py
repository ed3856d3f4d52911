"""Options of query likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from rerankers.llm.adapter_base import loaded_models
from rerankers.methods.loaded import BatchOptions, PassOptions
from rerankers.pointwise.prompts import QueryLikelihoodPrompt, prompt_named, refuse_idle_variables
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize


class QueryLikelihoodOptions(PassOptions, BatchOptions):
    """Options of `query-likelihood`."""

    summary: ClassVar[str] = "mean log-probability of the query given the passage (UPR, arXiv 2204.07496)"
    implementation: ClassVar[str] = "rerankers.pointwise.query_likelihood:QueryLikelihood"

    prompt: str = "plain"
    """Name of a prompt template in `prompts.toml`."""

    max_passage_tokens: int = Field(default=512, ge=1)
    """A passage is cut after this many tokens."""

    template_variables: dict[str, Any] = Field(default_factory=dict)
    """The chat template's own variables, such as `{enable_thinking: false}`."""

    def check(self) -> None:
        """Refuse an unknown prompt, and chat template variables for a prompt that uses none."""
        super().check()
        refuse_idle_variables(self.template, self.template_variables)

    @property
    def template(self) -> QueryLikelihoodPrompt:
        """The prompt template that the options name."""
        return prompt_named(QueryLikelihoodPrompt, self.prompt)

    @property
    def models(self) -> tuple[tuple[str, str | None], ...]:
        """The model, and an adapter's base model."""
        return loaded_models(self.model, self.revision)

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: the query is read once behind each passage."""
        passage = min(size.passage_tokens, self.max_passage_tokens)
        prompt = size.tokens_of(self.template.text) + passage + size.query_tokens
        return Work(prompt_tokens=size.candidates * prompt)
