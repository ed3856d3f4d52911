"""Numbers as text: the same rounding in the page, in the paper and in a sentence."""

from __future__ import annotations

import math

MINUS = "\u2212"


def fixed(value: float, decimals: int) -> str:
    """Return a fixed number of decimals: 0.5058."""
    return _typographic(f"{value:.{decimals}f}")


def signed(value: float, decimals: int = 3) -> str:
    """Return a difference with its sign: +0.065; zero has none."""
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0.0 else _typographic(text)


def significant(value: float) -> str:
    """Return a number with three significant digits, two below one, and no exponent: 0.012, 1.23,
    12.3, 12,345.
    """
    if value == 0.0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    decimals = max(0, (2 if magnitude >= 0 else 1) - magnitude)
    return _typographic(f"{value:,.{min(decimals, 6)}f}")


def dollars(value: float) -> str:
    """Return dollars with two significant digits below one, whole cents above: 0.0042, 0.12, 12.30."""
    if 0.0 < value < 1.0:
        return f"{value:.{1 - math.floor(math.log10(value))}f}"
    return f"{value:,.2f}"


def count(value: float) -> str:
    """Return a mean count: whole numbers without decimals, others with one; thousands grouped."""
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.1f}"


def p_value(value: float) -> str:
    """Return `p = 0.012`, or `p < 0.001`, which no line breaks."""
    return "p\u00a0<\u00a00.001" if value < 0.001 else f"p\u00a0=\u00a0{value:.3f}"


def percent(share: float) -> str:
    """Return a share in per cent: 12 %; below one, with a decimal."""
    return f"{100 * share:.0f}\u202f%" if share >= 0.01 or share == 0 else f"{100 * share:.1f}\u202f%"


def times(factor: float) -> str:
    """Return a speed-up: 4.4, 12, 1,204."""
    return f"{factor:,.1f}" if factor < 10 else f"{factor:,.0f}"


def _typographic(text: str) -> str:
    return text.replace("-", MINUS)
