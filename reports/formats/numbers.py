"""Formats numbers as text, with the same rounding in the page, in papers and in sentences."""

from __future__ import annotations

import math

MINUS = "\u2212"


def fixed(value: float, decimals: int) -> str:
    """Format a number with a fixed number of decimals: 0.5058."""
    return _typographic(f"{value:.{decimals}f}")


def signed(value: float, decimals: int = 3) -> str:
    """Format a difference with its sign: +0.065; zero has none."""
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0.0 else _typographic(text)


def significant(value: float) -> str:
    """Format a number with three significant digits, two below one, without exponent: 0.012, 1.23, 12,345."""
    if value == 0.0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    decimals = max(0, (2 if magnitude >= 0 else 1) - magnitude)
    return _typographic(f"{value:,.{min(decimals, 6)}f}")


def dollars(value: float) -> str:
    """Format dollars with two significant digits below one, whole cents above: 0.0042, 0.12, 12.30."""
    if 0.0 < value < 1.0:
        return f"{value:.{1 - math.floor(math.log10(value))}f}"
    return f"{value:,.2f}"


def count(value: float) -> str:
    """Format a mean count: with one decimal if it is below 100 and not whole; thousands grouped."""
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.1f}"


def p_value(value: float) -> str:
    """Format a p-value as `p = 0.012` or `p < 0.001`, with spaces that do not break."""
    return "p\u00a0<\u00a00.001" if value < 0.001 else f"p\u00a0=\u00a0{value:.3f}"


def percent(share: float) -> str:
    """Format a share in per cent, such as 12 %; with a decimal below 1 %."""
    return f"{100 * share:.0f}\u202f%" if share >= 0.01 or share == 0 else f"{100 * share:.1f}\u202f%"


def times(factor: float) -> str:
    """Format a speed-up factor: 4.4, 12, 1,204."""
    return f"{factor:,.1f}" if factor < 10 else f"{factor:,.0f}"


def _typographic(text: str) -> str:
    """Return a text with typographic minus signs."""
    return text.replace("-", MINUS)
