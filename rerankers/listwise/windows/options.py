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
    "full",
    "top-down",
    "top-down-reference",
    "tournament",
    "heap-sort",
    "bubble-sort",
    "insertion-sort",
]
_SLIDING = ("sliding", "sliding-reference", "full")
_TOP_DOWN = ("top-down", "top-down-reference")


class WindowOptions(OptionGroup):
    """Options of the windows by which a long candidate list is ranked, a few passages a call.

    Attributes:
        window: passages in a call; 0 puts all candidates into one, as the policy `full` does.
        step: ranks by which a sliding window moves.
        window_policy: which passages the calls show; see `rerankers.listwise.windows`.
        pivot_rank: of the policies `top-down`: rank of the pivot in the first window; None is half of it.
        buffer: of the policies `top-down`: candidates that a round keeps; None is as many as a window holds.
        tournaments: of the policy `tournament`: how many are played; 13 calls each for 100 candidates.
        initial_order: the order shown at first: `given`, `shuffled` by `seed` and query id, or `reversed`.
        seed: of shuffles: the initial order's, and those of a tournament's groups.
    """

    window: int = Field(default=20, ge=0)
    step: int = Field(default=10, ge=1)
    window_policy: WindowPolicyName = "sliding"
    pivot_rank: int | None = Field(default=None, ge=2)
    buffer: int | None = Field(default=None, ge=1)
    tournaments: int = Field(default=1, ge=1)
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
    return options["window_policy"] in _SLIDING


def check_windows(options: Mapping[str, Any]) -> None:
    """Refuse window options that do not fit each other.

    Raises:
        InputError: two of them do not fit, or one belongs to another policy.
    """
    policy, window = options["window_policy"], options["window"]
    if policy in ("sliding", "sliding-reference"):
        sliding_windows(0, window, options["step"])
    elif policy != "full":
        least = 3 if policy in (*_TOP_DOWN, "tournament") else 2
        if window < least:
            raise InputError(f"window {window}: {policy} needs at least {least} passages in a call")
    if policy in _TOP_DOWN:
        pivot_rank = options["pivot_rank"]
        if pivot_rank is not None and pivot_rank >= window:
            raise InputError(f"pivot_rank {pivot_rank}: the pivot is inside the window of {window}")
    else:
        for name in ("pivot_rank", "buffer"):
            if options[name] is not None:
                raise InputError(f"{name} belongs to the policies top-down; leave it out under {policy}")
    if options["tournaments"] != 1 and policy != "tournament":
        raise InputError(f"tournaments belongs to the policy tournament; leave it out under {policy}")
