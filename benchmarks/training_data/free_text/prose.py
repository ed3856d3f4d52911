"""Passages from running text: package descriptions, manuals in HTML, and histories from a strategy game."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from benchmarks.training_data.free_text.passage import Passage, cut_to_length, in_passages, squeeze

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Parts of a program that repeat its description, and libraries by the hundred that are described alike.
_SUBPACKAGE = re.compile(
    r"^(lib|golang-|node-|ruby-|r-cran-|r-bioc-|rust-|haskell-|elpa-|php-|python3-|python-|gir1|fonts-|texlive-lang|linux-image"
    r"|linux-headers|hunspell-|aspell-|task-|kf5|qml|qt6|firmware-|gcc-|g\+\+-|cpp-|gnat)"
    r"|-(dev|dbg|dbgsym|doc|data|common|l10n|locale|headers|utils|bin|plugins?|modules?|dkms|all|cross)(-|$|\d)"
)
_LEGEND = re.compile(r'^name\s*=\s*_\("([^"]+)"\).*?^legend\s*=\s*_\("([^"]+)"\)', re.MULTILINE | re.DOTALL)


def description_passages(stanzas: str) -> Iterator[Passage]:
    """Yield a passage on the purpose of each package in Debian's description stanzas.

    Subpackages are left out.
    """
    seen: set[str] = set()
    for stanza in re.split(r"\n\n+", stanzas):
        fields = re.match(
            r"Package: (\S+)\n(?:.*\n)*?Description-en: (.*)\n((?: .*\n?)*)", stanza.rstrip() + "\n"
        )
        if not fields or _SUBPACKAGE.search(fields[1]) or fields[1] in seen:
            continue  # an update describes a package a second time
        name, short, body = fields.groups()
        paragraphs = re.split(r"\n \.\n", body)
        text = cut_to_length(re.sub(r"\s+[*-]\s+", " ", squeeze(" ".join(paragraphs[:2]))))
        if text and text not in seen and "http" not in text and "transitional" not in text:
            seen |= {text, name}
            yield Passage(f"debian:{name}", text, (name,), "program", short, examples=(short,))


def manual_passages(source: str, folder: Path) -> Iterator[Passage]:
    """Yield the paragraphs of all HTML pages in a folder as passages, named by their nearest headings."""
    for page in sorted(folder.glob("*.html")):
        if "links" in page.stem:
            continue
        parser = _Paragraphs()
        parser.feed(re.sub(r"\[[^\]]*\]", "", page.read_text(encoding="utf-8", errors="replace")))
        for section, (heading, paragraphs) in enumerate(parser.sections):
            for part, text in enumerate(in_passages(paragraphs)):
                passage_id = f"{source}:{page.stem}.{section}.{part}"
                yield Passage(passage_id, text, (heading,), "section" if part == 0 else "part", text)


def nation_passages(folder: Path) -> Iterator[Passage]:
    """Yield a passage with the short history of each nation in Freeciv's rule sets."""
    for path in sorted(folder.rglob("nation/*.ruleset")):
        legend = _LEGEND.search(path.read_text(encoding="utf-8").replace("\\\n", ""))
        text = cut_to_length(legend[2]) if legend else None
        if legend and text:
            name = re.sub(r"\?\w+:", "", legend[1])
            yield Passage(f"freeciv:{path.stem}", text, (name,), "nation", text)


class _Paragraphs(HTMLParser):
    """An HTML parser that collects each heading with the paragraphs under it, in `sections`."""

    def __init__(self) -> None:
        super().__init__()
        self.sections: list[tuple[str, list[str]]] = []
        self._text: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Start a new block at a paragraph or heading tag."""
        if ("class", "para") in attrs:  # DocBook's name for a paragraph
            tag = "p"
        if tag in {"p", "h1", "h2", "h3", "h4"}:
            self._close()
            self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        """End the current block at its closing tag, or that of an enclosing element."""
        if tag == self._inside or tag in {"div", "body", "ul", "blockquote"}:
            self._close()

    def handle_data(self, data: str) -> None:
        """Add text to the current block."""
        if self._inside:
            self._text.append(data)

    def _close(self) -> None:
        """End the current block: a heading starts a section, a paragraph is added to the last one."""
        text = squeeze("".join(self._text))
        if self._inside.startswith("h") and text:
            self.sections.append((re.sub(r"^[\dA-Z.]+\s+", "", text), []))
        elif self._inside == "p" and text and self.sections:
            self.sections[-1][1].append(text)
        self._text, self._inside = [], ""
