"""Settings of the training of a listwise text ranker."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from rerankers.training.settings import LLMSettings, TrainingSettings

TextPromptName = Literal["rank-zephyr", "rank-vicuna", "rankgpt", "first"]


class TextSettings(TrainingSettings):
    """Settings of a listwise text ranker: passages as text in the prompt, their order as the answer.

    Attributes:
        llm: language model; a chat model, whose chat template is used.
        prompt: its prompt; see `rerankers.listwise.prompts`. The reranker `rankgpt` uses the same one; for
            `first`, whose identifiers are letters, it is the reranker `first`.
        passage_words: passages are cut after this many words, counted by `rerankers.text.words`.
        template_variables: the chat template's own variables, such as `{enable_thinking: false}`.
        max_length: longest prompt with its answer, in tokens.
    """

    llm: LLMSettings
    prompt: TextPromptName = "rank-zephyr"
    passage_words: Annotated[int, Field(ge=1)] = 300
    template_variables: dict[str, Any] = Field(default_factory=dict)
    max_length: Annotated[int, Field(ge=1)] = 4096

    stage_defaults: ClassVar[dict[str, Any]] = {"tune": "lora", "optimizer": {"learning_rate": 1e-4}}

    @model_validator(mode="after")
    def _learns_what_it_has(self) -> TextSettings:
        if self.tune == "projector":
            raise ValueError("a text ranker has no projector; set tune to lora or full")
        return self
