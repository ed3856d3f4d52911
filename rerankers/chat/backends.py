"""Opens the backend that the options of a chat reranker name."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rerankers.endpoints.keys import read_key
from rerankers.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from rerankers.chat.conversation import ChatBackend
    from rerankers.methods.chat import ChatOptions

CHAT_KEY = "OPENAI_API_KEY"
_CUSTOM_HEADERS = "OPENAI_CUSTOM_HEADERS"  # which the `openai` package would send everywhere
_ENDPOINTS_ONLY = ("base_url", "recording", "price", "extra_body")
_COUNTED_BY_US = ("n", "best_of", "stream_options")  # more answers would cost more than is set aside
_WRITTEN_BY_US = ("model", "messages", "temperature", "max_tokens", "max_completion_tokens", "stream")


def refuse_foreign_options(options: ChatOptions) -> None:
    """Refuse options that do not belong to the backend, and a malformed address or key; nothing is loaded.

    Raises:
        InputError: there is one.
        MissingExtraError: the `openai` package is not installed.
    """
    if options.backend == "openai":
        if find_spec("openai") is None:
            raise MissingExtraError("backend 'openai'", "openai")
        if os.environ.get(_CUSTOM_HEADERS):
            raise InputError(
                f"{_CUSTOM_HEADERS} is set. Unset it: secrets in these headers cannot be kept out of "
                "messages and records."
            )
        if options.revision is not None:
            raise InputError("the openai backend knows no revision; name the exact model instead")
        for name in _WRITTEN_BY_US:
            if name in options.extra_body:
                raise InputError(f"extra_body: {name!r} is set by an option of its own. Leave it out here.")
        for name in _COUNTED_BY_US:
            if name in options.extra_body:
                raise InputError(f"extra_body: {name!r} changes what an answer costs. Leave it out.")
        if options.template_variables:
            raise InputError(
                "the openai backend renders no chat template, so template_variables do nothing. Give them as "
                "extra_body: {chat_template_kwargs: {...}}, which vLLM and SGLang read."
            )
        if options.base_url is not None:
            from rerankers.endpoints.endpoint import address

            address("base_url", options.base_url, "")
        read_key(CHAT_KEY)
        return
    for name in _ENDPOINTS_ONLY:
        if getattr(options, name) not in (None, {}):
            raise InputError(f"the transformers backend has no {name}; use backend: openai")
    if options.stream:
        raise InputError("the transformers backend sees answers grow anyway; leave stream out")
    if options.temperature != 0.0:
        raise InputError("the transformers backend decodes greedily; leave temperature at 0")


def open_chat(options: ChatOptions) -> ChatBackend:
    """Return the backend, loaded, or connected on its first call.

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
