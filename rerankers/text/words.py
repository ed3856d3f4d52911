"""Splits text into words, in scripts that put spaces between them and in scripts that do not.

Prompts cut passages after a number of words. Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan and a few
other scripts write sentences without spaces, so a whole passage would count as one word. There a number of
characters counts as one word, about the length of a word of that script: the limit then keeps about as much
content, and as many tokens, as in English.
"""

from __future__ import annotations

import re

CHARACTERS_PER_WORD = {"Chinese and Japanese": 2, "Southeast Asian and Tibetan": 4}
"""Characters that count as one word; vowel signs and other marks above or below a letter do not count."""

_IDEOGRAPHS = (
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_SYLLABLES = "\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf"
_UNSPACED = re.compile(f"[{_IDEOGRAPHS}{_SYLLABLES}]")


def _run(characters: str, most: str) -> str:
    """Return the pattern of a run of characters of a class, each with the marks and signs behind it.

    Args:
        characters: the class, `[...]`.
        most: the quantifier of the run, such as `{1,2}` or `+`.
    """
    return rf"(?:(?=\w){characters}\W*){most}"


_WORD = re.compile(
    r"\W*(?:"
    + _run(f"[{_IDEOGRAPHS}]", f"{{1,{CHARACTERS_PER_WORD['Chinese and Japanese']}}}")
    + "|"
    + _run(f"[{_SYLLABLES}]", f"{{1,{CHARACTERS_PER_WORD['Southeast Asian and Tibetan']}}}")
    + "|"
    + _run(f"[^{_IDEOGRAPHS}{_SYLLABLES}]", "+")
    + r")|\W+"
)


def split_words(text: str) -> list[str]:
    """Split a text into words; each one that follows white space begins with a single space.

    Joined without a separator they are the text with single spaces, so the first n are its beginning.
    """
    if text.isascii() or not _UNSPACED.search(text):  # the usual case, without a look at each word
        spaced = text.split()
        return spaced[:1] + [f" {word}" for word in spaced[1:]]
    words: list[str] = []
    for chunk in text.split():
        pieces = _WORD.findall(chunk) if _UNSPACED.search(chunk) else [chunk]
        words.append(f" {pieces[0]}" if words else pieces[0])
        words += pieces[1:]
    return words
