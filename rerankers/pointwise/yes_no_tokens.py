"""Writers of the prompts of yes/no rerankers as token ids, in the way each model was trained.

A general prompt is one text. Qwen3-Reranker (arXiv 2506.05176) joins ids: a prefix and a suffix that are
tokenised by themselves and never cut, around a body that is cut at its end. mxbai-rerank-v2 joins the ids of
more pieces: query and passage are tokenised, and cut, apart. The texts are data: `prompts.toml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rerankers.errors import ModelError
from rerankers.llm.readout import cut_to_tokens
from rerankers.models.lengths import usable_positions
from rerankers.pointwise.prompts import Framed, FramedYesNoPrompt, PiecewiseYesNoPrompt, fill

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.llm.causal import CausalLM
    from rerankers.pointwise.base import Pair
    from rerankers.pointwise.prompts import AnyYesNoPrompt, YesNoPrompt

TokenRows = tuple[list[list[int]], list[bool]]
"""The token ids of each prompt, and whether its passage was cut."""


class PromptTokens(Protocol):
    """A writer of the prompts of one reranker as token ids."""

    def write(self, pairs: Sequence[Pair]) -> TokenRows:
        """Return the prompt of each pair as token ids, and whether its passage was cut."""

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the limits and the instruction in force."""


def prompt_tokens(
    prompt: AnyYesNoPrompt,
    llm: CausalLM,
    name: str,
    *,
    instruction: str | None,
    max_passage_tokens: int | None,
    max_prompt_tokens: int | None,
    variables: Mapping[str, Any],
) -> PromptTokens:
    """Return a writer of prompts for the form of a template.

    Args:
        prompt: the template.
        llm: the model.
        name: the model's name, for errors.
        instruction: takes precedence over those of queries and of the template; None for none.
        max_passage_tokens, max_prompt_tokens: limits; None for the template's own.
        variables: the chat template's own variables.

    Raises:
        InputError: the template needs a chat template and the model has none.
        ModelError: the limits leave no room for the passage.
    """
    limits = PromptLimits(instruction, max_passage_tokens, max_prompt_tokens)
    if isinstance(prompt, FramedYesNoPrompt):
        return FramedBody(prompt, llm, limits)
    if isinstance(prompt, PiecewiseYesNoPrompt):
        return Pieces(prompt, llm, limits)
    return OneText(prompt, llm, name, variables, max_passage_tokens)


class OneText:
    """A writer of prompts that are tokenised as one text.

    The passage is cut before the text is put together.
    """

    def __init__(
        self,
        prompt: YesNoPrompt,
        llm: CausalLM,
        name: str,
        variables: Mapping[str, Any],
        max_passage_tokens: int | None,
    ) -> None:
        self._frame = Framed(prompt, llm.tokenizer, name, variables)
        self._tokenizer = llm.tokenizer
        self._max_passage_tokens = max_passage_tokens or prompt.max_passage_tokens

    def write(self, pairs: Sequence[Pair]) -> TokenRows:
        """Return the prompt of each pair as token ids, and whether its passage was cut."""
        passages, is_cut = cut_to_tokens(
            self._tokenizer, [pair.passage for pair in pairs], self._max_passage_tokens
        )
        texts = [
            fill(self._frame.text, query=pair.query, passage=passage)
            for pair, passage in zip(pairs, passages, strict=True)
        ]
        adds = self._frame.needs_special_tokens
        return self._tokenizer(texts, add_special_tokens=adds, verbose=False)["input_ids"], is_cut

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the passage limit, and how the chat template is used, if one is."""
        return {**self._frame.describe(), "max_passage_tokens": self._max_passage_tokens}


@dataclass(frozen=True, slots=True)
class PromptLimits:
    """The instruction and the limits that a user set, each None where none was; see `prompt_tokens`."""

    instruction: str | None
    max_passage_tokens: int | None
    max_prompt_tokens: int | None

    def passages(self, tokenizer: Any, pairs: Sequence[Pair]) -> tuple[list[str], list[bool]]:
        """Return the passage of each pair, cut to the limit of passages, and whether it was cut."""
        passages = [pair.passage for pair in pairs]
        if self.max_passage_tokens is None:
            return passages, [False] * len(pairs)
        return cut_to_tokens(tokenizer, passages, self.max_passage_tokens)


class FramedBody:
    """A writer of prompts with a body between a prefix and a suffix, all tokenised separately.

    The body is cut at its end. Instruction, query and passage are one text in it, so that a long query leaves
    no room for the passage.

    Raises:
        ModelError: the limit leaves no room for the body.
    """

    def __init__(self, prompt: FramedYesNoPrompt, llm: CausalLM, limits: PromptLimits) -> None:
        self._tokenizer, self._prompt, self._limits = llm.tokenizer, prompt, limits
        self._prefix, self._suffix = _ids(self._tokenizer, [prompt.prefix, prompt.suffix])
        frame = len(self._prefix) + len(self._suffix)
        limit = limits.max_prompt_tokens or prompt.max_prompt_tokens
        room = limit - frame if prompt.counts_frame else limit
        positions = usable_positions(llm.model.config.get_text_config())
        self._room = room if positions is None else min(room, positions - frame)
        if self._room < 1:
            raise ModelError(
                f"max_prompt_tokens: {limit} tokens leave no room beside the prompt's own {frame}. Raise it."
            )

    def write(self, pairs: Sequence[Pair]) -> TokenRows:
        """Return the prompt of each pair as token ids, and whether its passage or body was cut."""
        passages, is_cut = self._limits.passages(self._tokenizer, pairs)
        texts = [
            fill(self._prompt.text, instruction=self._instruction_of(pair), query=pair.query, passage=passage)
            for pair, passage in zip(pairs, passages, strict=True)
        ]
        bodies = self._tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        rows = [[*self._prefix, *body[: self._room], *self._suffix] for body in bodies]
        return rows, [cut or len(body) > self._room for cut, body in zip(is_cut, bodies, strict=True)]

    def _instruction_of(self, pair: Pair) -> str:
        """Return the instruction of a pair's prompt: the user's, else the query's own, else the
        template's.
        """
        chosen = self._limits.instruction if self._limits.instruction is not None else pair.instruction
        return self._prompt.instruction if chosen is None else chosen

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the limits, and the instruction of queries that have none."""
        chosen = self._prompt.instruction if self._limits.instruction is None else self._limits.instruction
        limits = {"max_body_tokens": self._room, "max_passage_tokens": self._limits.max_passage_tokens}
        return {**limits, "instruction": chosen}


class Pieces:
    """A writer of prompts of pieces that are tokenised separately; query and passage are cut separately.

    The query part may take three quarters of the limit, and the passage the rest of it.

    Raises:
        ModelError: the limit leaves no room for query and passage.
    """

    def __init__(self, prompt: PiecewiseYesNoPrompt, llm: CausalLM, limits: PromptLimits) -> None:
        self._tokenizer, self._prompt, self._limits = llm.tokenizer, prompt, limits
        pieces = _ids(self._tokenizer, [prompt.prefix, prompt.separator, prompt.task, prompt.suffix])
        self._prefix, self._separator, task, suffix = pieces
        self._ending = [*self._separator, *task, *suffix]
        frame = len(self._prefix) + len(self._ending)
        limit = limits.max_prompt_tokens or prompt.max_prompt_tokens
        self._positions = usable_positions(llm.model.config.get_text_config()) or limit + frame
        self._room = min(limit, self._positions - frame)
        self._frame = frame
        if self._room < 4:
            raise ModelError(
                f"max_prompt_tokens: {self._room} tokens are left for query and passage. Raise it, or name a "
                "model with more positions."
            )

    def write(self, pairs: Sequence[Pair]) -> TokenRows:
        """Return the prompt of each pair as token ids, and whether its passage was cut."""
        questions = list(dict.fromkeys((self._instruction_of(pair), pair.query) for pair in pairs))
        before = dict(zip(questions, map(self._query_part, questions), strict=True))
        passages, is_cut = self._limits.passages(self._tokenizer, pairs)
        passage_ids = _ids(
            self._tokenizer, [fill(self._prompt.text, passage=passage) for passage in passages]
        )
        rows = []
        for i, (pair, ids) in enumerate(zip(pairs, passage_ids, strict=True)):
            query = before[self._instruction_of(pair), pair.query]
            most = min(self._positions - len(query) - self._frame, self._room)
            kept = [*self._separator, *ids[:most]][: self._room - len(query)]
            is_cut[i] = is_cut[i] or len(kept) < len(self._separator) + len(ids)
            rows.append([*self._prefix, *query, *kept, *self._ending])
        return rows, is_cut

    def _query_part(self, question: tuple[str, str]) -> list[int]:
        """Return the token ids of an instruction (if not empty) and a query, cut to three quarters of
        the limit.
        """
        instruction, query = question
        text = fill(self._prompt.query_text, query=query)
        if instruction:
            text = (
                fill(self._prompt.instruction_text, instruction=instruction) + self._prompt.separator + text
            )
        [ids] = _ids(self._tokenizer, [text])
        return ids[: self._room * 3 // 4]

    def _instruction_of(self, pair: Pair) -> str:
        """Return the instruction of a pair's prompt: the user's, else the query's own, else an empty text."""
        chosen = self._limits.instruction if self._limits.instruction is not None else pair.instruction
        return chosen or ""

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the limits, and the user's instruction."""
        limits = {"max_pair_tokens": self._room, "max_passage_tokens": self._limits.max_passage_tokens}
        return {**limits, "instruction": self._limits.instruction}


def _ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Return the token ids of each text, without special tokens."""
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return ids
