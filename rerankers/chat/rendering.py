"""Renders chat templates within limits of time, memory and length.

A template comes with a model and is a program: it may never end, or double a string until the memory is full.
A second thread watches each rendering and ends it from outside, which works in any thread and costs nothing
where the rendering is over before the first look.
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil

from rerankers.errors import ModelError, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LONGEST_SECONDS = 10.0
MOST_BYTES = 1 << 30  # that the process may grow by
_LOOK_SECONDS = 0.05  # between two looks
_FREE_CHARACTERS = 1 << 20  # that a template may add to what it is given


class _OverLimit(BaseException):
    """An exception that ends the rendering of a template.

    Not an `Exception`, so that no library catches it.
    """


def render(
    tokenizer: Any,
    messages: Sequence[Mapping[str, object]],
    *,
    model: str,
    add_generation_prompt: bool = True,
    variables: Mapping[str, Any] | None = None,
) -> str:
    """Return a chat as one text, rendered by a tokenizer's chat template.

    Args:
        tokenizer: of transformers, with a chat template.
        messages: the chat.
        model: the model's name, for errors.
        add_generation_prompt: whether the text ends where the model's answer begins.
        variables: the template's own variables.

    Raises:
        ModelError: the template refuses the chat, or takes too much time, memory or text.
    """
    label = f"the chat template of {model!r}"
    try:
        with _limited(label):
            text: str = tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                **(variables or {}),
            )
    except ModelError:
        raise
    except Exception as error:  # whatever a template's own code raises
        raise ModelError(f"{label} refuses the prompt: {reason_of(error)}") from error
    characters = sum(len(str(message["content"])) for message in messages)
    if len(text) > 16 * characters + _FREE_CHARACTERS:
        raise ModelError(f"{label} makes {len(text)} characters of {characters}. Do not trust this model.")
    return text


@contextmanager
def _limited(label: str) -> Iterator[None]:
    """End the block with a `ModelError` once it takes too long or the process grows too much.

    Args:
        label: what the error blames, such as "the chat template of 'm'".
    """
    thread = ctypes.c_ulong(threading.get_ident())
    is_over, lock = threading.Event(), threading.Lock()
    reasons: list[str] = []

    def watch() -> None:
        """Wait in a second thread, and raise `_OverLimit` in the first one if a limit is exceeded."""
        reason = _reason_to_end(is_over)
        with lock:
            if reason is not None and not is_over.is_set():
                reasons.append(reason)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_OverLimit))

    threading.Thread(target=watch, daemon=True).start()
    try:
        try:
            yield
        finally:
            with lock:
                is_over.set()
            if reasons:  # the exception may still be on its way
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)
    except _OverLimit:
        raise ModelError(f"{label} {reasons[0]} for one prompt. Do not trust this model.") from None


def _reason_to_end(is_over: threading.Event) -> str | None:
    """Wait until `is_over` is set (return None) or a limit of time or memory is exceeded (return which)."""
    if is_over.wait(_LOOK_SECONDS):
        return None
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    for _ in range(round(LONGEST_SECONDS / _LOOK_SECONDS)):
        if is_over.wait(_LOOK_SECONDS):
            return None
        if process.memory_info().rss - before > MOST_BYTES:
            return f"takes more than {MOST_BYTES >> 30} GiB"
    return f"takes more than {LONGEST_SECONDS:g} seconds"
