"""Options of listwise methods that rank a long candidate list window by window."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rerankers.errors import InputError
from rerankers.listwise.windows.initial import InitialOrder
from rerankers.listwise.windows.sliding import sliding_windows
from rerankers.options import MethodOptions

WindowPolicyName = Literal[
    "sliding",
    "sliding-reference",
    "sliding-aligned",
    "sliding-rank-k",
    "full",
    "first-window",
    "top-down",
    "top-down-reference",
    "tournament",
    "tournament-llm4ranking",
    "heap-sort",
    "bubble-sort",
    "insertion-sort",
]
_MOVING = ("sliding", "sliding-reference", "sliding-aligned", "sliding-rank-k", "first-window")
_TOP_DOWN = ("top-down", "top-down-reference")
_TOURNAMENTS = ("tournament", "tournament-llm4ranking")
_OF_POLICIES: dict[str, tuple[str, ...]] = {
    "pivot_rank": _TOP_DOWN,
    "buffer": _TOP_DOWN,
    "tournaments": _TOURNAMENTS,
    "stage_weight": ("tournament-llm4ranking",),
    "windows_from": ("sliding-rank-k",),
}
"""Options that some policies read, and which; under the others they have to be left out."""


class WindowOptions(MethodOptions):
    """Options of the windows by which a long candidate list is ranked, a few passages a call."""

    window: int = Field(default=20, ge=0)
    """Passages in a call; 0 puts all candidates into one, as the policy `full` does."""

    step: int = Field(default=10, ge=1)
    """Ranks by which a sliding window moves."""

    window_policy: WindowPolicyName = "sliding"
    """Which passages the calls show; see `rerankers.listwise.windows`."""

    pivot_rank: int | None = Field(default=None, ge=2)
    """Of the policies `top-down`: rank of the pivot in the first window; null is half of it."""

    buffer: int | None = Field(default=None, ge=1)
    """Of the policies `top-down`: candidates that a round keeps; null is as many as a window holds."""

    tournaments: int = Field(default=1, ge=1)
    """Of the policies `tournament` and `tournament-llm4ranking`: how many are played; 13 and 19 calls each
    for 100 candidates."""

    stage_weight: float = Field(default=0.0, ge=0)
    """Of the policy `tournament-llm4ranking`: points beyond one for surviving a stage, times the number of
    stages before it."""

    windows_from: int | None = Field(default=None, ge=1)
    """Of the policy `sliding-rank-k`: the depth that windows are counted from, whatever the list's length;
    null is 100, as published."""

    initial_order: InitialOrder = "given"
    """The order shown at first: `given`, `shuffled` by `seed` and query id, or `reversed`."""

    seed: int = 0
    """Seed of shuffles: the initial order's, and those of a tournament's groups."""

    @property
    def slides(self) -> bool:
        """True if the windows are known beforehand and slide from the tail to the head."""
        return self.window_policy in (*_MOVING, "full")

    def window_values(self) -> dict[str, object]:
        """Return the values of the window options alone, as JSON has them."""
        return self.model_dump(mode="json", include=set(WindowOptions.model_fields))

    def check(self) -> None:
        """Refuse window options that do not fit each other, and those of another policy."""
        super().check()
        policy, window = self.window_policy, self.window
        if policy in _MOVING:
            sliding_windows(0, window, self.step)
        elif policy != "full":
            least = 3 if policy in (*_TOP_DOWN, *_TOURNAMENTS) else 2
            if window < least:
                raise InputError(f"window {window}: {policy} needs at least {least} passages in a call")
        if policy in _TOP_DOWN and self.pivot_rank is not None and self.pivot_rank >= window:
            raise InputError(f"pivot_rank {self.pivot_rank}: the pivot is inside the window of {window}")
        for name, policies in _OF_POLICIES.items():
            if policy not in policies and getattr(self, name) != WindowOptions.model_fields[name].default:
                raise InputError(f"{name} belongs to {' and '.join(policies)}; leave it out under {policy}")


class LetterWindowOptions(WindowOptions):
    """The same for methods that name passages by letters."""

    window: int = Field(default=20, ge=2, le=26)
    """Passages in a call, at most 26."""


class FullWindowOptions(WindowOptions):
    """The same for methods that show all candidates at once unless told otherwise."""

    window_policy: WindowPolicyName = "full"
    """Which passages the calls show, all of them by default; see `rerankers.listwise.windows`."""
