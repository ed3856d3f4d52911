"""Options of causal LMs that are asked whether a passage answers the query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from rerankers.errors import InputError
from rerankers.llm.adapter_base import loaded_models
from rerankers.methods.loaded import BatchOptions, PassOptions
from rerankers.pointwise.prompts import YesNoPrompt, refuse_idle_variables, yes_no_prompt
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.pointwise.prompts import AnyYesNoPrompt
    from rerankers.work import RequestSize


class CausalYesNoOptions(PassOptions, BatchOptions):
    """Options of `causal-yes-no`."""

    summary: ClassVar[str] = (
        "log-probability that a causal LM answers yes (Qwen3-Reranker, mxbai-rerank-v2, BGE-gemma)"
    )
    implementation: ClassVar[str] = "rerankers.pointwise.causal_yes_no:CausalYesNo"

    prompt: str
    """Name of a prompt template in `prompts.toml`; a trained reranker needs its own."""

    instruction: str | None = None
    """What the passages are to be judged by, for Qwen3-Reranker and mxbai-rerank-v2. It comes before the
    dataset's instruction, and that before the template's own."""

    max_passage_tokens: int | None = Field(default=None, ge=1)
    """A passage is cut after this many tokens; by default 1,024, and for templates that limit the prompt
    none."""

    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """The longest prompt, of templates that limit it; by default 8,192 as published. Qwen3-Reranker's ends
    are then cut off, its suffix never; mxbai counts query and passage alone."""

    template_variables: dict[str, Any] = Field(default_factory=dict)
    """The chat template's own variables, such as `{enable_thinking: false}`."""

    @property
    def template(self) -> AnyYesNoPrompt:
        """The prompt template that the options name."""
        return yes_no_prompt(self.prompt)

    def check(self) -> None:
        """Refuse an unknown prompt, and options that it does not use."""
        super().check()
        refuse_idle_variables(self.template, self.template_variables)
        if not isinstance(self.template, YesNoPrompt):
            return
        idle = {"instruction": self.instruction, "max_prompt_tokens": self.max_prompt_tokens}
        for name, value in idle.items():
            if value is not None:
                raise InputError(f"{name}: this prompt has none. Leave it out, or choose another prompt.")

    @property
    def models(self) -> tuple[tuple[str, str | None], ...]:
        """The model, and an adapter's base model."""
        return loaded_models(self.model, self.revision)

    @property
    def reads_instruction(self) -> bool:
        """True if the prompt has a place for a dataset's instruction, and no option fills it."""
        return self.instruction is None and not isinstance(self.template, YesNoPrompt)

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: each passage is read once with the query, behind a shared prefix."""
        frame = sum(map(size.tokens_of, self.template.frame(self.instruction)))
        passage = min(size.passage_tokens, self.max_passage_tokens or size.passage_tokens)
        return Work(prompt_tokens=size.candidates * (frame + size.query_tokens + passage))
