"""The columns of a batch of prompts: the token or padding in each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rerankers.pe_rank.prompt import Prompt

PADDING = -1
PASSAGE = -2  # a passage placeholder: never the same as what is in the cache


@dataclass(frozen=True)
class Layout:
    """The columns of prompts of windows with the same number of passages, one prompt a row.

    A row holds the prefix that all rows share, padding, the rest of the prompt up to the passages, padding,
    and the passages with the text between and after them. So the rows' passages stand in the same columns.

    Attributes:
        ids: token ids, `PADDING` or `PASSAGE`, (rows, columns).
    """

    ids: npt.NDArray[np.int64]

    @classmethod
    def of(cls, prompts: Sequence[Prompt]) -> Layout:
        """Return the layout of a batch of prompts."""
        heads = [prompt.token_ids[: prompt.placeholders[0]] for prompt in prompts]
        shared = 0
        while all(shared < len(head) and head[shared] == heads[0][shared] for head in heads):
            shared += 1
        before = max(len(head) for head in heads)
        columns = before + max(len(p.token_ids) - len(head) for p, head in zip(prompts, heads, strict=True))
        ids = np.full((len(prompts), columns), PADDING, dtype=np.int64)
        for row, (prompt, head) in enumerate(zip(prompts, heads, strict=True)):
            own = np.array(prompt.token_ids, dtype=np.int64)
            own[list(prompt.placeholders)] = PASSAGE
            ids[row, :shared] = own[:shared]
            ids[row, before - (len(head) - shared) : before] = own[shared : len(head)]
            ids[row, columns - (len(own) - len(head)) :] = own[len(head) :]
        return cls(ids)

    @cached_property
    def is_real(self) -> npt.NDArray[np.bool_]:
        """True where a column is a token or passage, False where it is padding, (rows, columns)."""
        is_real: npt.NDArray[np.bool_] = self.ids != PADDING
        return is_real

    @cached_property
    def positions(self) -> npt.NDArray[np.int64]:
        """The position of each token in its prompt, padding skipped, (rows, columns)."""
        positions: npt.NDArray[np.int64] = np.maximum(self.is_real.cumsum(axis=1) - 1, 0)
        return positions

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of tokens of each prompt, (rows,)."""
        lengths: npt.NDArray[np.int64] = self.is_real.sum(axis=1)
        return lengths
