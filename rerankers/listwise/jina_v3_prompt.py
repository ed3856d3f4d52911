"""The prompts of jina-reranker-v3: blocks of passages between two copies of the query (arXiv 2509.25085).

The text is put together by hand in the published code, not by a chat template. A block's passages are
numbered from 0. The states of the token behind a passage, and of the one behind the query, are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerankers.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.text.control_tokens import ControlTokens

QUERY_END, PASSAGE_END = "<|rerank_token|>", "<|embed_token|>"

_SYSTEM = (
    "<|im_start|>system\n"
    "You are a search relevance expert who can determine a ranking of the passages based on how relevant "
    "they are to the query. If the query is a question, how relevant a passage is depends on how well it "
    "answers the question. If not, try to analyze the intent of the query and assess how well each passage "
    "satisfies the intent. If an instruction is provided, you should follow the instruction when determining "
    "the ranking.<|im_end|>\n"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of texts and blocks, in tokens and passages.

    Attributes:
        query_tokens: longest query.
        passage_tokens: longest passage.
        block_passages: most passages in a block.
        context: a block also ends once fewer than `passage_tokens` of this many are left.
    """

    query_tokens: int
    passage_tokens: int
    block_passages: int
    context: int


@dataclass(frozen=True, slots=True)
class Block:
    """One prompt as token ids, up to the query's end.

    Attributes:
        token_ids: the prompt.
        passages: position of the token that ends each passage.
        query: position of the token that ends the query.
    """

    token_ids: list[int]
    passages: list[int]
    query: int


@dataclass(frozen=True, slots=True)
class Texts:
    """A query and its passages as the prompts show them.

    Attributes:
        query: its text.
        passages: their texts.
        query_tokens: the query's length, at most the limit.
        passage_tokens: each passage's length, at most the limit.
        truncated: how many passages were longer.
        control_tokens: how many the query and the passages held.
    """

    query: str
    passages: list[str]
    query_tokens: int
    passage_tokens: list[int]
    truncated: int
    control_tokens: int


class BlockWriter:
    """A writer that cuts texts, divides passages into blocks, and writes the prompt of each.

    Args:
        tokenizer: of the model.
        model: the model's name, for errors.
        limits: of texts and blocks.
        instruction: a sentence that the prompt hands on; None for none.
        control: how control tokens in queries and passages are read.

    Raises:
        ModelError: the tokenizer lacks one of the two tokens whose states are read.
    """

    def __init__(
        self, tokenizer: Any, model: str, limits: Limits, instruction: str | None, control: ControlTokens
    ) -> None:
        ids = tokenizer.get_vocab()
        for token in (QUERY_END, PASSAGE_END):
            if token not in ids:
                raise ModelError(
                    f"{model!r}: its tokenizer has no {token}. Put the model's own tokenizer beside it."
                )
        self._query_end, self._passage_end = int(ids[QUERY_END]), int(ids[PASSAGE_END])
        self._tokenizer, self._limits, self._control = tokenizer, limits, control
        self._instruction = instruction

    def texts(self, query: str, passages: Sequence[str]) -> Texts:
        """Return a query and its passages, cut to the limits, without tokens that would end them early.

        As in the published code, a text that reaches its limit is replaced by its decoded tokens, and lengths
        are those before tokens are removed.
        """
        shown_query, query_tokens, _ = self._cut(query, self._limits.query_tokens)
        cut_passages = [self._cut(passage, self._limits.passage_tokens) for passage in passages]
        texts = [_without_ends(text) for text in (shown_query, *(text for text, _, _ in cut_passages))]
        _, counts = self._control.read([query, *passages])
        (shown_query, *passage_texts), _ = self._control.read(texts)
        return Texts(
            shown_query,
            passage_texts,
            query_tokens,
            [length for _, length, _ in cut_passages],
            sum(is_cut for _, _, is_cut in cut_passages),
            sum(counts),
        )

    def divide(self, texts: Texts) -> list[tuple[int, int]]:
        """Return (start, end) of each block of passages, half-open.

        The passage that fills a block belongs to it.
        """
        blocks = []
        start, left = 0, self._limits.context - 2 * texts.query_tokens
        for position, length in enumerate(texts.passage_tokens):
            left -= length
            is_full = position + 1 - start >= self._limits.block_passages
            if is_full or left <= self._limits.passage_tokens:
                blocks.append((start, position + 1))
                start, left = position + 1, self._limits.context - 2 * texts.query_tokens
        if start < len(texts.passage_tokens):
            blocks.append((start, len(texts.passage_tokens)))
        return blocks

    def write(self, texts: Texts, start: int, end: int) -> Block:
        """Return the prompt of the passages `start` to `end` (not included) as a block.

        It ends with the query's last token: no state that is read depends on the rest of the published
        prompt.

        Raises:
            ModelError: the prompt does not hold the end of each passage once.
        """
        ids = self.whole(texts, start, end)
        passages = [position for position, token in enumerate(ids) if token == self._passage_end]
        queries = [position for position, token in enumerate(ids) if token == self._query_end]
        if len(passages) != end - start or len(queries) != 1:
            raise ModelError(
                f"a prompt of {end - start} passages ends {len(passages)} passages and {len(queries)} "
                "queries. Put the model's own tokenizer beside it."
            )
        return Block(ids[: queries[0] + 1], passages, queries[0])

    def whole(self, texts: Texts, start: int, end: int) -> list[int]:
        """Return the token ids of the whole published prompt of passages `start` to `end` (not included)."""
        prompt = prompt_text(texts.query, texts.passages[start:end], self._instruction)
        ids: list[int] = self._tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def beginning(self) -> list[int]:
        """Return the token ids that all prompts begin with."""
        from rerankers.llm.hidden import common_prefix

        few, more = Texts("a", ["b"], 1, [1], 0, 0), Texts("c", ["d", "e"], 1, [1, 1], 0, 0)
        return common_prefix([self.whole(few, 0, 1), self.whole(more, 0, 2)])

    def _cut(self, text: str, limit: int) -> tuple[str, int, bool]:
        """Return a text cut to at most `limit` tokens, its length in tokens, and whether it was longer."""
        ids = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) < limit:
            return text, len(ids), False
        return self._tokenizer.decode(ids[:limit]), limit, len(ids) > limit


def _without_ends(text: str) -> str:
    """Return a text without the two tokens that end queries and passages in a prompt.

    The published code removes them once, which can leave another one; such a prompt fails there.
    """
    while True:
        shorter = text.replace(QUERY_END, "").replace(PASSAGE_END, "")
        if shorter == text:
            return text
        text = shorter


def prompt_text(query: str, passages: Sequence[str], instruction: str | None = None) -> str:
    """Return the published prompt of a query and a block of passages as text."""
    instruct_tag = f"<instruct>\n{instruction}\n</instruct>\n" if instruction else ""
    passage_tags = "".join(
        f'<passage id="{number}">\n{text}{PASSAGE_END}\n</passage>\n' for number, text in enumerate(passages)
    )
    return (
        f"{_SYSTEM}<|im_start|>user\n"
        f"I will provide you with {len(passages)} passages, each indicated by a numerical identifier. "
        f"Rank the passages based on their relevance to query: {query}\n"
        f"{instruct_tag}{passage_tags}<query>\n{query}{QUERY_END}\n</query><|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
