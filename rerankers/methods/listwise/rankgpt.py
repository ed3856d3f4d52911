"""Options of RankGPT."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rerankers.errors import InputError
from rerankers.listwise.permutation import Parsing
from rerankers.listwise.prompts import PromptName, load_prompt, refuse_without_ftfy
from rerankers.listwise.windows.plan import WindowPlan
from rerankers.methods.chat import ChatOptions
from rerankers.methods.listwise.prompt_tokens import prompt_tokens
from rerankers.methods.windows import WindowOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize

ID_TOKENS = 5
"""Of a rank in the answer: `[12] > `."""
MOST_ID_TOKENS = 6
"""The same by a tokenizer that splits every digit and sign."""
TOKENS_AROUND = 32
"""For a model that says a sentence first."""


class RankGPTOptions(WindowOptions, ChatOptions):
    """Options of `rankgpt`."""

    summary: ClassVar[str] = "a chat model orders windows of text (arXiv 2304.09542)"
    implementation: ClassVar[str] = "rerankers.listwise.rankgpt:RankGPT"

    top: int | None = Field(default=None, ge=1)
    """Ranks that must be exact; an answer ends as soon as all that can reach them is written. The model is
    greedy, so these ranks are those of full answers. Null: all, or ten in a sort."""

    passes: int = Field(default=1, ge=1)
    """How often sliding windows go over the list."""

    prompt: PromptName = "rankgpt"
    """Name of a prompt template in `prompts.toml`."""

    parsing: Parsing = "reference"
    """`reference`, as the prompt's published code reads answers, or `strict`."""

    passage_words: int = Field(default=300, ge=1)
    """Passages are cut after this many words."""

    passage_tokens: int | None = Field(default=None, ge=1)
    """Passages are cut after this many tokens of a model in this process, as published for ReasonRank,
    instead of words."""

    max_new_tokens: int | None = Field(default=None, ge=1)
    """Longest answer; null is 6 per passage and 32 more. Thoughts have `reasoning_tokens`."""

    def check(self) -> None:
        """Refuse options that nothing would read."""
        super().check()
        refuse_without_ftfy(load_prompt(self.prompt), self.prompt)
        if self.passage_tokens is not None and self.backend != "transformers":
            raise InputError(
                f"passage_tokens {self.passage_tokens}: tokens are counted by a model in this process. "
                "Use passage_words, or backend: transformers."
            )
        if self.passes > 1 and not self.slides:
            raise InputError(
                f"passes {self.passes}: only sliding windows go over the list more than once. "
                "Leave passes out, or use window_policy: sliding."
            )
        if self.top is not None and self.parsing == "strict" and self.slides:
            raise InputError(
                "top ends answers early, which strict parsing cannot judge; leave one of them out"
            )

    def answer_limit(self, passages: int) -> int:
        """Return the most tokens of an answer that orders so many passages, thoughts left out."""
        return self.max_new_tokens or MOST_ID_TOKENS * passages + TOKENS_AROUND

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: each window is a call that shows its passages and writes their order."""
        rounds = WindowPlan(self, self.top, self.passes).expected(size.candidates)
        passage_counts = [len(window.positions) for windows in rounds for window in windows]
        passage = min(size.passage_tokens, self.passage_words * size.tokens_per_word)
        passage = min(passage, self.passage_tokens or passage)
        thoughts = len(passage_counts) * self.reasoning_tokens  # a budget, of which a model may use less
        return Work(
            windows=len(passage_counts),
            llm_calls=len(passage_counts),
            sequential_calls=len(rounds),
            prompt_tokens=prompt_tokens(load_prompt(self.prompt), size, passage_counts, passage),
            generated_tokens=sum(passage_counts) * ID_TOKENS + thoughts,
            most_generated_tokens=sum(map(self.answer_limit, passage_counts)) + thoughts,
            depends_on_answers=not self.slides,
        )
