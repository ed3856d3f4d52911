"""Reads API keys from the environment."""

from __future__ import annotations

import os

from rerankers.errors import InputError


def read_key(variable: str) -> str | None:
    """Return the API key in an environment variable; None if it is not set or empty.

    Raises:
        InputError: the key holds a character that no key has, such as a line end; the message hides the key.
    """
    key = os.environ.get(variable) or None
    for place, character in enumerate(key or "", start=1):
        if not "!" <= character <= "~":
            kind = (
                "a line end" if character in "\r\n" else "white space" if character.isspace() else "no ASCII"
            )
            raise InputError(
                f"{variable}: character {place} of {len(key or '')} is {kind}. Set the variable to the key "
                "alone: ASCII in one line, without spaces or quotes"
            )
    return key
