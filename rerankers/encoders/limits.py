"""The longest input of an encoder in tokens: the length asked for, as far as the model can read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerankers.errors import ModelError
from rerankers.models.lengths import usable_positions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TEXTS_AT_ONCE = 1024
"""Texts that an encoder tokenises and batches together, which bounds memory."""


def limit_lengths(
    source: str, transformers: Sequence[Any], wanted: int, prefixes: Mapping[str, str]
) -> int | None:
    """Set the longest input of every transformer's tokenizer, and return the smallest; None without a
    transformer.

    Args:
        source: the name of the option or file that sets the length, for errors.
        transformers: modules with a tokenizer and a configuration; their tokenizers are changed.
        wanted: longest input that the options and the model's files ask for, in tokens.
        prefixes: the text before every `query` and every `document`.

    Raises:
        ModelError: special tokens and a prefix alone fill the input, so that all texts would be equal.
    """
    limits = [_limited(source, transformer, wanted, prefixes) for transformer in transformers]
    return min(limits, default=None)


def _limited(source: str, transformer: Any, wanted: int, prefixes: Mapping[str, str]) -> int:
    """Set the longest input of one transformer's tokenizer, and return it; see `limit_lengths`.

    It is the wanted length, but at most the tokenizer's own and the model's positions.
    """
    tokenizer, config = transformer.tokenizer, transformer.config
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
    limit: int = min(wanted, tokenizer.model_max_length, usable_positions(text_config) or wanted)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    for task, prefix in prefixes.items():
        task_limit = getattr(transformer, f"{task}_length", None)
        shorter = limit if task_limit is None else min(limit, task_limit)
        taken = len(tokenizer(prefix)["input_ids"])
        if taken >= shorter:
            with_prefix = f" and the prefix {prefix!r}" if prefix else ""
            raise ModelError(
                f"{source}: the longest {task} is {shorter} tokens, which special tokens{with_prefix} fill "
                f"({taken}), so that no text is read. Set it to at least {taken + 1}."
            )
        if task_limit is not None:
            setattr(transformer, f"{task}_length", shorter)
    tokenizer.model_max_length = limit
    return limit
