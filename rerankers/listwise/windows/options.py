"""Options of the listwise methods that rank a long candidate list window by window, declared once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rerankers.errors import InputError
from rerankers.legacy_options import OptionGroup
from rerankers.listwise.windows.initial import InitialOrder
from rerankers.listwise.windows.sliding import sliding_windows

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class WindowOptions(OptionGroup):
    """Options of the windows by which a long candidate list is ranked, a few passages a call.

    Attributes:
        window: passages in a call; 0 puts all candidates into one, as the policy `full` does.
        step: ranks by which a sliding window moves.
        window_policy: which passages the calls show; see `rerankers.listwise.windows`.
        pivot_rank: of the policies `top-down`: rank of the pivot in the first window; None is half of it.
        buffer: of the policies `top-down`: candidates that a round keeps; None is as many as a window holds.
        tournaments: of the policies `tournament` and `tournament-llm4ranking`: how many are played; 13 and 19
            calls each for 100 candidates.
        stage_weight: of the policy `tournament-llm4ranking`: points beyond one for surviving a stage, times
            the number of stages before it.
        windows_from: of the policy `sliding-rank-k`: the depth that windows are counted from, whatever the
            list's length; None is 100, as published.
        initial_order: the order shown at first: `given`, `shuffled` by `seed` and query id, or `reversed`.
        seed: of shuffles: the initial order's, and those of a tournament's groups.
    """

    window: int = Field(default=20, ge=0)
    step: int = Field(default=10, ge=1)
    window_policy: WindowPolicyName = "sliding"
    pivot_rank: int | None = Field(default=None, ge=2)
    buffer: int | None = Field(default=None, ge=1)
    tournaments: int = Field(default=1, ge=1)
    stage_weight: float = Field(default=0.0, ge=0)
    windows_from: int | None = Field(default=None, ge=1)
    initial_order: InitialOrder = "given"
    seed: int = 0


class LetterWindowOptions(WindowOptions):
    """The same for methods that name passages by letters.

    Attributes:
        window: passages in a call, at most 26.
    """

    window: int = Field(default=20, ge=2, le=26)


class FullWindowOptions(WindowOptions):
    """The same for methods that show all candidates at once unless told otherwise.

    Attributes:
        window_policy: which passages the calls show; by default all of them.
    """

    window_policy: WindowPolicyName = "full"


def is_sliding(options: Mapping[str, Any]) -> bool:
    """Tell whether the windows are known beforehand and slide from the tail to the head."""
    return options["window_policy"] in (*_MOVING, "full")


def check_windows(options: Mapping[str, Any]) -> None:
    """Refuse window options that do not fit each other.

    Raises:
        InputError: two of them do not fit, or one belongs to another policy.
    """
    policy, window = options["window_policy"], options["window"]
    if policy in _MOVING:
        sliding_windows(0, window, options["step"])
    elif policy != "full":
        least = 3 if policy in (*_TOP_DOWN, *_TOURNAMENTS) else 2
        if window < least:
            raise InputError(f"window {window}: {policy} needs at least {least} passages in a call")
    pivot_rank = options["pivot_rank"]
    if policy in _TOP_DOWN and pivot_rank is not None and pivot_rank >= window:
        raise InputError(f"pivot_rank {pivot_rank}: the pivot is inside the window of {window}")
    for name, policies in _OF_POLICIES.items():
        if policy not in policies and options[name] != WindowOptions.model_fields[name].default:
            raise InputError(f"{name} belongs to {' and '.join(policies)}; leave it out under {policy}")
