"""Replaces secrets in texts: endpoints repeat keys in errors, and tracebacks repeat those errors.

A secret is the value of an environment variable such as `OPENAI_API_KEY`, or the password in an address such
as `HTTPS_PROXY`. It is hidden as it is and as
`repr`, JSON, HTML, URLs and base64 write it, and always before a text is cut: of a secret that straddles a
cut, all but its end would remain.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from rerankers.text.printable import printable

_SECRET = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSPHRASE)$")
_IN_ADDRESS = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")  # the password of `http://user:password@host`
SHORTEST_SECRET = 8
"""Characters; shorter values, such as the `EMPTY` that servers without keys are given, are ordinary words."""
_BASIC = re.compile(r"\bBasic +(?=\S*[A-Z0-9=])[A-Za-z0-9+/]{4,}=*")  # how a password in an address is sent


def redacted(text: str) -> str:
    """Return the text without the environment's secrets and without HTTP Basic authentication headers."""
    return _BASIC.sub("Basic ...", without_secrets(text))


def without_secrets(text: str) -> str:
    """Return the text with each secret of the environment replaced by `$NAME` of its variable."""
    for name, value in os.environ.items():
        if _SECRET.search(name.upper()):
            text = hide(text, name, value)
        elif "@" in value and (password := _IN_ADDRESS.search(value)):
            text = hide(hide(text, name, password[1]), name, unquote(password[1]))
    return text


def hide(text: str, name: str, secret: str) -> str:
    """Return the text with one secret, in any of its spellings, replaced by `$NAME`."""
    for spelling in _spellings(secret):
        if spelling in text:
            text = text.replace(spelling, f"${name}")
    return text


def hide_within(value: Any, name: str, secret: str) -> Any:
    """Return a decoded JSON value with one secret replaced by `$NAME` in all its strings and keys."""
    if isinstance(value, str):
        return hide(value, name, secret)
    if isinstance(value, list):
        return [hide_within(item, name, secret) for item in value]
    if isinstance(value, dict):
        return {hide(key, name, secret): hide_within(item, name, secret) for key, item in value.items()}
    return value


def excerpt(value: object, length: int) -> str:
    """Return the first `length` characters of a value as one line, without secrets or control characters."""
    line = printable(" ".join(redacted(str(value)).split()))
    return line if len(line) <= length else f"{line[: length - 1]}…"


@lru_cache(maxsize=64)
def _spellings(secret: str) -> tuple[str, ...]:
    """Return the spellings of a secret (as is, repr, JSON, HTML, URL, base64), longest first.

    A secret, or a line of it, shorter than 8 characters has none: it would match ordinary words.
    """
    lines = [line.strip() for line in secret.splitlines()]
    spellings: set[str] = set()
    for part in (secret, secret.strip(), *lines):
        if len(part) < SHORTEST_SECRET:
            continue
        raw = part.encode(errors="surrogateescape")
        in_url = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
        spellings |= {part, repr(part)[1:-1], repr(raw)[2:-1], html.escape(part), *in_url}
        spellings |= {json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1]}
        spellings |= {re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), address) for address in in_url}
        spellings.add(base64.b64encode(raw).decode().rstrip("="))
    return tuple(sorted(spellings, key=len, reverse=True))
