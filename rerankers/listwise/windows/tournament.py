"""Tournaments: the best of each group of passages go on to the next stage and get points (arXiv 2406.11678).

This is TourRank. A hundred candidates become 50, 20, 10, 5 and 2 in five stages of 13 calls. Passages are
dealt to the groups of a stage one by one, so that every group holds good ones. A passage gets a point for
each stage that it survives; points of all tournaments are added, and ties keep the first stage's order.
Groups are shuffled, since models favour positions. All groups of a stage, of all tournaments, run side by
side.

The published code plays with exactly 100 candidates. Here, a stage that has no more passages than it lets
through is left out, and a shorter list is dealt to as many groups as it fills; with 100 candidates the calls
are the published ones. Beyond 100 candidates the rest takes no part, as in the published code.

`liuqi6777/llm4ranking` plays tournaments of another kind, which are kept here too: any number of candidates,
a fixed number of survivors of each group, and later tournaments that begin from the points of earlier ones.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from rerankers.listwise.windows.rounds import Window, ranked_side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.listwise.windows.rounds import Rounds, Steps

STAGES = ((50, 20), (20, 10), (10, 20), (5, 10), (2, 5))
"""Passages that each stage lets through, and the passages in one of its groups (appendix of the paper)."""
ENTRANTS = 100
LLM4RANKING_STAGES = ((10, 5), (10, 4), (10, 5), (10, 5), (5, 2))
"""Stages of llm4ranking's tournaments: passages in a group, and how many of a group go on."""


def rank_by_tournaments(order: Sequence[int], window: int, tournaments: int, shuffle_seed: str) -> Rounds:
    """Rank candidates by the points that they win in TourRank's tournaments.

    Return positions, most points first.

    Args:
        order: candidate positions as they are shown at first.
        window: most passages in a group, at least 3.
        tournaments: how many are played.
        shuffle_seed: decides how groups are shuffled.
    """
    shuffler = random.Random(shuffle_seed)  # noqa: S311 - no secret
    rank_of = {position: rank for rank, position in enumerate(order)}
    points = dict.fromkeys(order, 0)
    playing = [list(order[:ENTRANTS]) for _ in range(tournaments)]
    for survivors, size in STAGES:
        if len(playing[0]) <= survivors:
            continue
        windows = [group for players in playing for group in _groups(players, survivors, min(size, window))]
        for group in windows:
            shuffler.shuffle(group.positions)
        winners = yield from _survivors(windows)
        per_tournament = len(windows) // tournaments
        for number in range(tournaments):
            own_winners = winners[number * per_tournament : (number + 1) * per_tournament]
            playing[number] = sorted((i for group in own_winners for i in group), key=rank_of.__getitem__)
            for i in playing[number]:
                points[i] += 1
    return sorted(order, key=lambda i: -points[i])


def _groups(playing: list[int], survivors: int, size: int) -> list[Window]:
    """Deal passages to groups of at most `size`.

    The groups' `ranks`, how many go on, add up to `survivors`.
    """
    count = -(-len(playing) // size)
    return [
        Window(playing[number::count], survivors // count + (number < survivors % count))
        for number in range(count)
    ]


def _survivors(groups: Sequence[Window]) -> Steps[list[list[int]]]:
    """Request the orders of groups, and return the winners of each.

    A group whose members all go on needs no call.
    """
    contested = [group for group in groups if group.ranks < len(group.positions)]
    orders = iter((yield from ranked_side_by_side(contested)))
    return [
        next(orders)[: group.ranks] if group.ranks < len(group.positions) else group.positions
        for group in groups
    ]


def rank_by_group_tournaments(
    order: Sequence[int],
    window: int,
    tournaments: int,
    shuffle_seed: str,
    stages: Sequence[tuple[int, int]] = LLM4RANKING_STAGES,
    stage_weight: float = 0.0,
) -> Rounds:
    """Rank candidates by their points in llm4ranking's tournaments; return positions, most points first.

    Tournaments follow one another, because each deals the survivors of a stage by the points so far. The
    groups of a stage run side by side. A stage is played even if all of its passages go on.

    Args:
        order: candidate positions as they are shown at first.
        window: most passages in a group, at least 3.
        tournaments: how many are played.
        shuffle_seed: decides how groups are shuffled.
        stages: of each stage: passages in a group, and how many of a group go on.
        stage_weight: points beyond one for surviving a stage, for each stage before it.
    """
    shuffler = random.Random(shuffle_seed)  # noqa: S311 - no secret
    points = dict.fromkeys(order, 0.0)
    for _ in range(tournaments):
        playing = list(order)
        for stage, (size, survivors) in enumerate(stages):
            if len(playing) < 2:
                break
            count = -(-len(playing) // min(size, window))
            groups = [playing[number::count] for number in range(count)]
            for group in groups:
                shuffler.shuffle(group)
            windows = [Window(group, min(survivors, len(group))) for group in groups]
            orders = yield from ranked_side_by_side(windows)
            playing = [
                i for played, ranking in zip(windows, orders, strict=True) for i in ranking[: played.ranks]
            ]
            for i in playing:
                points[i] += 1 + stage * stage_weight
            playing.sort(key=lambda i: -points[i])
    return sorted(order, key=lambda i: -points[i])
