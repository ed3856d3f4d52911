"""Options of E2Rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from rerankers.errors import InputError
from rerankers.listwise.e2rank_prompt import (
    PromptName,
    check_task,
    embedding_query,
    listwise_prompt,
    task_sentence,
)
from rerankers.listwise.windows.plan import WindowPlan
from rerankers.methods.embedded import EmbeddingOptions
from rerankers.methods.loaded import BatchOptions
from rerankers.methods.windows import FullWindowOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize


class E2RankOptions(FullWindowOptions, EmbeddingOptions, BatchOptions):
    """Options of `e2rank`."""

    summary: ClassVar[str] = (
        "cosine of passages with a listwise prompt that is embedded as a query (arXiv 2510.22733)"
    )
    implementation: ClassVar[str] = "rerankers.listwise.e2rank:E2Rank"

    mode: Literal["listwise", "embedding"] = "listwise"
    """`listwise` embeds a prompt that shows the first candidates; `embedding` the query alone."""

    prompt: PromptName = "script"
    """The published text: the evaluation `script`'s, or that of the `readme`'s example."""

    prompt_passages: int = Field(default=20, ge=1)
    """How many of the candidates the prompt shows; all are scored."""

    top: int | None = Field(default=None, ge=1)
    """Ranks that sorts settle; ten if null."""

    instruction: str | None = None
    """Another first sentence, in either mode; null is the published one."""

    task: str | None = None
    """Name of a published sentence for mode `embedding`, such as `dl19`; see `e2rank_prompts.toml`."""

    passage_words: int = Field(default=1024, ge=1)
    """Passages are cut after this many words."""

    max_length: int = Field(default=8192, ge=2)
    """Longest passage in tokens, its end included; the model's positions apply if fewer."""

    def check(self) -> None:
        """Refuse options that do nothing in the mode."""
        super().check()
        check_task(self.mode, self.task, self.instruction)
        if self.mode == "embedding" and self.window_policy != "full":
            raise InputError(
                "window_policy does nothing in mode 'embedding', whose text shows no passage. Leave it out."
            )

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: each passage is embedded, and each window has one prompt."""
        count = size.candidates
        if count and (count == 1 or self.mode == "embedding"):
            windows, rounds = [count], 1
        else:
            expected = WindowPlan(self, self.top).expected(count)
            windows, rounds = [len(window.positions) for each in expected for window in each], len(expected)
        passage = min(size.passage_tokens, self.passage_words * size.tokens_per_word)
        if self.mode == "embedding":
            sentence = self.instruction or task_sentence(self.task or "default")
            prompts = len(windows) * (size.tokens_of(embedding_query(sentence, "")) + size.query_tokens)
        else:
            prompt = listwise_prompt(self.prompt, self.instruction)
            passages_read = sum(min(count, self.prompt_passages) for count in windows)
            label = size.tokens_of(f"[1] {prompt.after_passage}")
            frame = size.tokens_of(prompt.message("", [])) + size.query_tokens
            prompts = len(windows) * frame + passages_read * (passage + label)
        embedded = sum(windows) if self.embeddings == "per_window" else count
        return Work(
            windows=len(windows),
            llm_calls=len(windows),
            sequential_calls=rounds,
            prompt_tokens=prompts,
            passages_embedded=embedded,
            depends_on_answers=not self.slides,
        )
