"""Opens the chat backend that a reranker's options name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.methods.chat import refuse_foreign_options

if TYPE_CHECKING:
    from rerankers.chat.conversation import ChatBackend
    from rerankers.methods.chat import ChatOptions


def open_chat(options: ChatOptions) -> ChatBackend:
    """Return the backend that the options name: a loaded model, or a client that connects when called.

    Raises:
        InputError: an option does not belong to the backend, or a key is missing or malformed.
        MissingExtraError: the `openai` package is not installed.
        ModelError: the model does not load.
    """
    refuse_foreign_options(options)
    if options.backend == "openai":
        from rerankers.chat.openai_chat import OpenAIChat

        return OpenAIChat(options)
    from rerankers.chat.in_process import TransformersChat

    return TransformersChat(options)
