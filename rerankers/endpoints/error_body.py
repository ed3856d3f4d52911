"""Extracts the error message from an endpoint's response, whichever layout the server uses.

Seen in the wild: `{"error": {"message"}}` (OpenAI), `[{"error": {...}}]` (Gemini), `{"detail": "..."}` and
`{"detail": [{"loc", "msg"}]}` (FastAPI), `{"message"}` (Cohere, vLLM), `{"error": "...", "error_type"}`
(TEI), JSON written into a message, and HTML pages of proxies.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any, NamedTuple

from rerankers.text.redaction import excerpt, redacted

LONGEST_MESSAGE = 300  # characters
_LONGEST_PAGE = 4_000  # characters of a page that are searched for its text
_MESSAGES = ("message", "detail", "msg", "error_message", "description", "title", "reason", "error")
_DEEPEST = 6


class ErrorBody(NamedTuple):
    """An endpoint's error: its message in one line without secrets, and its error code if it states one."""

    message: str
    code: str | None


def read_error(body: str) -> ErrorBody:
    """Parse the body of an error response, JSON, HTML or plain text, into message and code."""
    decoded = _decoded(body)
    message = error_message(body if decoded is None else decoded) or body
    return ErrorBody(excerpt(message, LONGEST_MESSAGE), _code(decoded))


def error_message(value: Any) -> str:
    """Return the error message in a decoded JSON value, secrets included; empty if there is none."""
    return _message(value, _DEEPEST)


def _message(value: Any, deepest: int) -> str:
    """Search a decoded JSON value for an error message, at most `deepest` levels down.

    Empty if there is none.
    """
    if deepest == 0 or value is None:
        return ""
    if isinstance(value, str):
        inner = _decoded(value)
        return (_message(inner, deepest - 1) if inner is not None else "") or _text_of_page(value)
    if isinstance(value, list):
        return "; ".join(filter(None, (_message(item, deepest - 1) for item in value[:3])))
    if not isinstance(value, dict):
        return ""
    for name in ("error", "errors"):  # an object says more than a message beside it
        if isinstance(value.get(name), dict | list) and (message := _message(value[name], deepest - 1)):
            return message
    for name in _MESSAGES:
        if message := _message(value.get(name), deepest - 1):
            place = value.get("loc") if name == "msg" else None
            parts = [str(part) for part in place[:6]] if isinstance(place, list) else []
            return f"{'.'.join(parts)}: {message}" if parts else message
    return ""


def _code(value: Any) -> str | None:
    """Return the error code in a decoded body, inside its `error` object or beside its message.

    None without one.
    """
    if isinstance(value, list):
        value = next(iter(value), None)
    if not isinstance(value, dict):
        return None
    inner = value.get("error")
    code = inner.get("code") if isinstance(inner, dict) else value.get("code")
    return code if isinstance(code, str) else None


def _decoded(text: str) -> Any:
    """Return the JSON object or list that a text holds; None for any other text."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _text_of_page(text: str) -> str:
    """Return the title of an HTML page, or its text without tags.

    A text that is no HTML page stays as it is.
    """
    if not re.match(r"\s*<(!doctype|html|head|body|center|h1)\b", text, re.IGNORECASE):
        return text
    page = redacted(text)[:_LONGEST_PAGE]
    title = re.search(r"<title[^>]*>([^<]+)", page, re.IGNORECASE)
    return html.unescape(title[1] if title and title[1].strip() else re.sub(r"<[^>]*>", " ", page)).strip()
