"""Answers that a network is made to write, so that a benchmark does not depend on what it has learned.

The network computes every step as ever; then the next token of the script gets the largest logit. A script is
begun whenever the decoder is given its start token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST = 1e6


class ScriptedAnswers:
    """Makes a T5 write scripts, one after the other, from the first one on after `restart`.

    Args:
        network: a T5 of transformers.
        scripts: token ids of each answer, the end token included.
    """

    def __init__(self, network: Any, scripts: Sequence[Sequence[int]]) -> None:
        self._start = network.config.decoder_start_token_id
        self._scripts = scripts
        self.restart()
        network.register_forward_pre_hook(self._count, with_kwargs=True)
        network.register_forward_hook(self._write)

    def restart(self) -> None:
        """Begin with the first script."""
        self._answer, self._step = -1, 0

    def _count(self, network: Any, inputs: Any, named: dict[str, Any]) -> None:
        ids = named["decoder_input_ids"]
        if ids.shape[1] == 1 and int(ids[0, 0]) == self._start:
            self._answer, self._step = self._answer + 1, -1
        self._step += 1

    def _write(self, network: Any, inputs: Any, output: Any) -> None:
        output.logits[:, -1, self._scripts[self._answer][self._step]] = _LARGEST
