"""Window policies: how a method that orders a few passages a call ranks a long candidate list.

A policy decides which passages the calls show, in which order, and what their answers mean for the list. It
knows nothing of models: see `rounds`. Every policy returns a permutation of the candidates, whatever the
answers are.

| policy | calls | source |
|---|---|---|
| `sliding` | windows from the tail to the head, the last one clipped | RankGPT, arXiv 2304.09542, section 4 |
| `sliding-reference` | the same, stopping where the next window would begin below zero | its published code |
| `sliding-aligned` | windows that begin at multiples of the step | TDPart's published code |
| `sliding-rank-k` | windows counted from a depth, whatever the list's length | Rank-K's published code |
| `full` | one window over all candidates | |
| `first-window` | one window over the head of the list | TDPart's published code |
| `top-down` | partitions against a pivot, side by side | TDPart, arXiv 2405.14589 |
| `top-down-reference` | the same, one after another, with the published order | its published code |
| `tournament` | groups whose best go on, in points | TourRank, arXiv 2406.11678 |
| `tournament-llm4ranking` | the same for any number of candidates | `liuqi6777/llm4ranking` on GitHub |
| `heap-sort`, `bubble-sort` | the best of a few passages drives a sort | Setwise, arXiv 2310.09497 |
| `insertion-sort` | groups against the last of the best so far | `LeonPeric/llm-rankers` on GitHub |
"""

from rerankers.listwise.windows.initial import InitialOrder, initial_order
from rerankers.listwise.windows.plan import WindowPlan
from rerankers.listwise.windows.rounds import Rounds, RunningPolicy, Window, run_rounds
from rerankers.listwise.windows.sliding import WindowPolicy, sliding_windows

__all__ = [
    "InitialOrder",
    "Rounds",
    "RunningPolicy",
    "Window",
    "WindowPlan",
    "WindowPolicy",
    "initial_order",
    "run_rounds",
    "sliding_windows",
]
