"""The prompts that E2Rank embeds in place of a query, as text and token ids (arXiv 2510.22733, section 3).

The listwise prompt shows the first candidates and the query in one user turn. It is embedded as a query is.
The texts are data: `e2rank_prompts.toml`.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rerankers.chat.template import ChatTemplate
from rerankers.errors import InputError, ModelError, UnknownNameError
from rerankers.text.words import split_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.text.control_tokens import ControlTokens

PromptName = Literal["script", "readme"]
"""Which published listwise prompt is used: the evaluation script's, or that of the README's example."""

END = "<|endoftext|>"
"""The text that ends every passage, and a query that is embedded without passages."""


@dataclass(frozen=True, slots=True)
class ListwisePrompt:
    """A published template of the listwise prompt.

    Attributes:
        instruction: its first sentence.
        before_documents: between the instruction and the first passage.
        before_query: between the last passage and the query.
        after_passage: behind every passage.
        shows_texts_as_they_are: whether passages keep their white space and their whole length.
    """

    instruction: str
    before_documents: str
    before_query: str
    after_passage: str = ""
    shows_texts_as_they_are: bool = False

    def message(self, query: str, passages: Sequence[str]) -> str:
        """Return the user turn's text: instruction, a numbered line for each passage, and the query."""
        lines = [f"[{number}] {text}{self.after_passage}" for number, text in enumerate(passages, start=1)]
        return f"{self.instruction}{self.before_documents}{chr(10).join(lines)}{self.before_query}{query}"


@cache
def _published() -> dict[str, Any]:
    """Return the content of `e2rank_prompts.toml`, read once."""
    return tomllib.loads((Path(__file__).parent / "e2rank_prompts.toml").read_text(encoding="utf-8"))


def listwise_prompt(name: PromptName, instruction: str | None = None) -> ListwisePrompt:
    """Return the published listwise prompt of this name, its instruction replaced if one is given."""
    prompt = ListwisePrompt(**_published()["listwise"][name])
    return prompt if instruction is None else replace(prompt, instruction=instruction)


def task_sentence(task: str) -> str:
    """Return the published sentence that stands before a query of this task, embedded without passages.

    Raises:
        UnknownNameError: there is no such task.
    """
    tasks: dict[str, str] = _published()["embedding"]
    if task not in tasks:
        raise UnknownNameError("task of e2rank", task, tasks)
    return tasks[task]


def embedding_query(sentence: str, query: str) -> str:
    """Return the text of a query to embed without passages: the task's sentence and the query."""
    return f"Instruct: {sentence}\nQuery:{query}"


def shown_text(text: str, passage_words: int, *, as_it_is: bool = False) -> tuple[str, bool]:
    """Return a passage's text, cut to `passage_words` words, and whether it was cut.

    White space becomes single blanks, as in the published script; with `as_it_is` the text stays unchanged.
    """
    if as_it_is:
        return text, False
    words = split_words(text)
    return "".join(words[:passage_words]), len(words) > passage_words


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt to embed, as token ids.

    Attributes:
        token_ids: the prompt; its last token's state is the query's vector.
        cut: positions of the passages that lost tokens.
        control_tokens: how many the query and the passages hold.
    """

    token_ids: list[int]
    cut: list[int]
    control_tokens: int


class PromptWriter:
    """A writer of listwise prompts, and of queries alone, as token ids.

    Args:
        tokenizer: of the model, with a chat template.
        model: the model's name, for errors.
        prompt: the listwise prompt.
        sentence: the sentence of a query that is read without passages.
        control: how control tokens in queries and passages are read.
        context: longest prompt in tokens; None for no limit.

    Raises:
        ModelError: the tokenizer has no chat template, or lacks the token that ends a text.
    """

    def __init__(
        self,
        tokenizer: Any,
        model: str,
        prompt: ListwisePrompt,
        sentence: str,
        control: ControlTokens,
        context: int | None,
    ) -> None:
        from rerankers.llm.readout import check_offsets

        check_offsets(tokenizer)
        thinks = "enable_thinking" in str(tokenizer.chat_template)
        self._template = ChatTemplate(tokenizer, model, {"enable_thinking": False} if thinks else {})
        self._template.refuse_thinking()
        self.end = end_token(tokenizer, model)
        self._tokenizer, self._prompt, self._sentence = tokenizer, prompt, sentence
        self._control, self._context = control, context

    def listwise(self, query: str, passages: Sequence[str]) -> Prompt:
        """Return the listwise prompt of a query and some passages.

        Texts too long for the context are cut: the longest ones, to one length in tokens.

        Raises:
            ModelError: the prompt exceeds the context even if its texts are cut to a token each.
        """
        from rerankers.llm.readout import cut_to_tokens

        texts, counts = self._control.read([query, *passages])
        ids = self._ids(texts)
        cut: set[int] = set()
        limit: int | None = None
        while self._context is not None and len(ids) > self._context:
            limit = self._shorter(texts, len(ids) - self._context, limit)
            texts, are_cut = cut_to_tokens(self._tokenizer, texts, limit)
            cut.update(i - 1 for i, is_cut in enumerate(are_cut) if is_cut and i)
            ids = self._ids(texts)
        return Prompt(ids, sorted(cut), sum(counts))

    def alone(self, query: str) -> Prompt:
        """Return the prompt of a query without passages, cut at its end to fit the context."""
        [text], [count] = self._control.read([query])
        ids = self._encode(embedding_query(self._sentence, text))
        if self._context is not None:
            ids = ids[: self._context - 1]
        return Prompt([*ids, self.end], [], count)

    def beginning(self) -> list[int]:
        """Return the token ids that all listwise prompts begin with."""
        from rerankers.llm.hidden import common_prefix

        return common_prefix([self._ids(["a", "b"]), self._ids(["c", "d", "e"])])

    def describe(self) -> dict[str, object]:
        """Return the record's entry on the chat template: its variables and which turns are joined."""
        return self._template.describe()

    def _ids(self, texts: Sequence[str]) -> list[int]:
        """Return the token ids of the listwise prompt of texts: the query first, then the passages."""
        message = self._prompt.message(texts[0], texts[1:])
        return self._template.tokens([{"role": "user", "content": message}])

    def _encode(self, text: str) -> list[int]:
        """Return the token ids of a text, without special tokens around it."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _shorter(self, texts: Sequence[str], excess: int, limit: int | None) -> int:
        """Return the length in tokens to which all texts have to be cut to lose `excess` tokens together.

        Args:
            texts: the query and the passages.
            excess: tokens to lose.
            limit: length to which they were cut before; None for the first time.

        Raises:
            ModelError: even one token a text is too long.
        """
        lengths = [len(self._encode(text)) for text in texts]
        level = max(lengths) if limit is None else min(limit, max(lengths))

        def total(longest: int) -> int:
            return sum(min(length, longest) for length in lengths)

        most = total(level) - excess
        # totals rise with the length, so the longest one that fits is found by bisection
        shorter = bisect_right(range(1, level), most, key=total)
        if shorter:
            return shorter
        raise ModelError(
            f"a prompt of {len(texts) - 1} passages exceeds the context of {self._context} tokens. "
            "Show fewer of them (prompt_passages)."
        )


def end_token(tokenizer: Any, model: str) -> int:
    """Return the id of the token that ends a passage.

    Raises:
        ModelError: the tokenizer has no such token.
    """
    ids = tokenizer.get_vocab()
    if END not in ids:
        raise ModelError(f"{model!r}: its tokenizer has no {END}. Name an E2Rank model, or one of Qwen3's.")
    return int(ids[END])


def check_task(mode: str, task: str | None, instruction: str | None) -> None:
    """Raise an error for a task that is unknown, has no effect in this mode, or stands beside an instruction.

    Raises:
        InputError: it does.
    """
    if task is None:
        return
    task_sentence(task)
    if instruction is not None:
        raise InputError(f"task {task!r} and instruction say two things. Give one of them.")
    if mode == "listwise":
        raise InputError(
            f"task {task!r} does nothing in mode 'listwise', whose prompt is the same for all tasks. "
            "Set instruction, or mode: embedding."
        )
