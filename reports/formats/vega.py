"""Bundles Vega, Vega-Lite and Vega-Embed into one script for the page, and draws figures for papers.

Bundling the script takes more than a second, as long as a small report, so the bundle of an installed version
is kept in the cache folder.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from rerankers.errors import StoreError
from rerankers.files.paths import cache_folder
from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from reports.charts.theme import Spec

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


@cache
def script() -> str:
    """Return the JavaScript that draws the page's charts, from the cache if it was bundled before."""
    import vl_convert

    path = cache_folder() / "vega" / f"{version('vl-convert-python')}.js"
    cached_bundle = _kept(path)
    if cached_bundle is not None:
        return cached_bundle
    bundle: str = vl_convert.javascript_bundle(_SNIPPET)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, f"{_seal(bundle)}\n{bundle}")
    except (OSError, StoreError):
        pass  # the next page takes as long
    return bundle


def figure(specification: Spec) -> tuple[str, bytes]:
    """Draw a Vega-Lite specification; return it as SVG text and PDF bytes.

    Raises:
        ValueError: it cannot be drawn.
    """
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(specification)
    pdf: bytes = vl_convert.svg_to_pdf(svg)
    return svg, pdf


def _kept(path: Path) -> str | None:
    """Return the bundle in a cache file; None if it is missing or damaged."""
    try:
        seal, _, bundle = path.read_bytes().decode().partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return bundle if seal == _seal(bundle) else None


def _seal(bundle: str) -> str:
    """Return the first line of a cache file: a comment with the bundle's sha256."""
    return f"// sha256 {hashlib.sha256(bundle.encode()).hexdigest()}"
