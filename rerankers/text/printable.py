"""Escapes characters in text from outside that terminals, tables and charts must not receive.

Control characters move a terminal's cursor, U+2028 ends a line of JavaScript, and characters that no font may
hold end chart libraries. Such characters are shown by their numbers, as Python writes them.
"""

from __future__ import annotations

import unicodedata

_ESCAPED = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of controls, halves of surrogate pairs, and separators of lines and paragraphs."""


def printable(text: str, *, keep: str = "") -> str:
    r"""Return the text with control characters and the like replaced by escapes such as `\x1b`.

    Args:
        text: from a file, a server or an experiment.
        keep: characters that stay, such as line ends.
    """
    if text.isprintable():
        return text
    return "".join(
        _escape(character) if character not in keep and _is_escaped(character) else character
        for character in text
    )


def shortened(text: str, longest: int) -> str:
    """Return the text, its middle replaced by `…` if it has more than `longest` characters."""
    if len(text) <= longest:
        return text
    start, end = longest * 3 // 4, longest - longest * 3 // 4 - 1
    return f"{text[:start]}…{text[len(text) - end :]}"


def _is_escaped(character: str) -> bool:
    """Return whether a character is a control, half a surrogate pair, a line separator or a noncharacter."""
    number = ord(character)
    is_no_character = number & 0xFFFE == 0xFFFE or 0xFDD0 <= number <= 0xFDEF
    return is_no_character or unicodedata.category(character) in _ESCAPED


def _escape(character: str) -> str:
    r"""Return a character as Python escapes it: `\x1b`, `\u2028` or `\U0001ffff`."""
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
