"""Tournament sort of ListT5 (arXiv 2402.15838, section 3.3), with the published groups and answers.

The list is dealt to groups in its order. The winners of all groups play again until one is left, which gets
the next rank. Its place is taken by a passage from elsewhere in the list, a dummy, and the next tournament
begins. Answers for the same group are remembered, so that only groups that changed are ranked again. The
groups of one stage do not depend on each other and are one round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.listwise.windows.rounds import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.listwise.windows.rounds import Rounds, Steps


def tournament(count: int, group: int, winners: int, top: int, dummy_offset: int) -> Rounds:
    """Rank `count` candidates by tournaments; a window policy that returns all positions, best first.

    It yields rounds of groups. For each group it is sent the last `ranks` passages of the answer, the best
    last.

    Args:
        count: candidates.
        group: passages in a group; a group may show a passage more than once.
        winners: passages that go on from a group, at most half of it.
        top: ranks that are settled.
        dummy_offset: how far away a settled passage's stand-in is.
    """
    if count < 2:
        return list(range(count))
    ranked = yield from (
        _one_group(count, group)
        if count <= group
        else _Tournament(count, group, winners).settle(top, dummy_offset)
    )
    return [*ranked, *(i for i in range(count) if i not in ranked)]


def _one_group(count: int, group: int) -> Steps[list[int]]:
    """Rank a list that fits into one group, which is filled up with its own passages.

    Return the positions.
    """
    members = sorted((*range(count), *(i % count for i in range(group - count))))
    [answer] = yield [Window(members, group)]
    return list(dict.fromkeys(reversed(answer)))


class _Tournament:
    """Repeated tournaments over one list, with the answers so far by group."""

    def __init__(self, count: int, group: int, winners: int) -> None:
        self._list = list(range(count))
        self._group = group
        self._winners = winners
        self._settled: list[int] = []
        self._answers: dict[frozenset[int], list[int]] = {}

    def settle(self, top: int, dummy_offset: int) -> Steps[list[int]]:
        """Play `top` tournaments and return the winners' positions, best first.

        Args:
            top: ranks to settle.
            dummy_offset: how far away the passage is that takes a winner's place in the list.
        """
        count = len(self._list)
        for _ in range(min(top, count)):
            best = yield from self._best(self._list)
            self._settled.append(best)
            if len(self._settled) < count:
                self._list[self._list.index(best)] = (best + dummy_offset) % count
                self._replace_settled()
        return self._settled

    def _replace_settled(self) -> None:
        """Replace each settled passage that is still in the list by the next one that is not settled."""
        count = len(self._list)
        for settled in self._settled:
            stand_in = (settled + 1) % count
            while stand_in in self._settled:
                stand_in = (stand_in + 1) % count
            self._list = [stand_in if i == settled else i for i in self._list]

    def _best(self, playing: Sequence[int]) -> Steps[int]:
        """Return the winner of one tournament among the passages `playing`: winners of groups meet again."""
        size = self._group
        groups = [list(playing[start : start + size]) for start in range(0, len(playing), size)]
        # A group of one passage only, however often, needs no call, and sends it on once.
        filled = [
            [*group, *self._stand_ins(group, size - len(group), playing)] if len(group) < size else group
            for group in groups
        ]
        yield from self._ask(filled)
        winners: list[int] = []
        for group, whole in zip(groups, filled, strict=True):
            if len(set(whole)) > 1:
                winners += self._answers[frozenset(whole)]
            else:
                winners += whole[:1] if len(group) == size else whole[:-1]
        if len(winners) > size:
            return (yield from self._best(winners))
        last = [*winners, *self._stand_ins(winners, size - len(winners), playing)]
        yield from self._ask([last])
        return self._answers[frozenset(last)][-1] if len(set(last)) > 1 else last[0]

    def _stand_ins(self, members: Sequence[int], missing: int, playing: Sequence[int]) -> list[int]:
        """Return `missing` passages to fill up a group: the first others of `playing`, not settled, in turns.

        Where there are none, any will do.
        """
        excluded = {*members, *self._settled}
        others = [i for i in playing if i not in excluded] or list(playing)
        return [others[i % len(others)] for i in range(missing)]

    def _ask(self, groups: Sequence[list[int]]) -> Steps[None]:
        """Request the orders of groups not ranked yet, as one round, and remember the answers."""
        new = {
            key: Window(sorted(group), self._winners)
            for group in reversed(groups)
            if len(key := frozenset(group)) > 1 and key not in self._answers
        }
        windows = dict(reversed(new.items()))
        if windows:
            answers = yield list(windows.values())
            self._answers.update(zip(windows, map(list, answers), strict=True))
