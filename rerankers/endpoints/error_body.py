"""Finds what an endpoint says went wrong, in whatever shape it says so.

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
    """An endpoint's error: one line without secrets, and the code of its kind."""

    message: str
    code: str | None


def read_error(body: str) -> ErrorBody:
    """Read the body of a response that reports an error."""
    decoded = _decoded(body)
    message = error_message(body if decoded is None else decoded) or body
    return ErrorBody(excerpt(message, LONGEST_MESSAGE), _code(decoded))


def error_message(value: Any) -> str:
    """Return the message in a decoded error, secrets included; empty without one."""
    return _message(value, _DEEPEST)


def _message(value: Any, deepest: int) -> str:
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
    """Return the code of an error: of its `error` object, or beside its message."""
    if isinstance(value, list):
        value = next(iter(value), None)
    if not isinstance(value, dict):
        return None
    inner = value.get("error")
    code = inner.get("code") if isinstance(inner, dict) else value.get("code")
    return code if isinstance(code, str) else None


def _decoded(text: str) -> Any:
    """Return the object or list that a text is the JSON of; None of any other text."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _text_of_page(text: str) -> str:
    """Return the title of an HTML page, or its text without tags; any other text as it is."""
    if not re.match(r"\s*<(!doctype|html|head|body|center|h1)\b", text, re.IGNORECASE):
        return text
    page = redacted(text)[:_LONGEST_PAGE]
    title = re.search(r"<title[^>]*>([^<]+)", page, re.IGNORECASE)
    return html.unescape(title[1] if title and title[1].strip() else re.sub(r"<[^>]*>", " ", page)).strip()
