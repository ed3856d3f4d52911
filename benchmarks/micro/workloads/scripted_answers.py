"""Scripted answers for a network, so that a benchmark does not depend on what the network has learned.

The network computes every step as ever; then the next token of the script gets the largest logit. A script is
begun whenever the decoder is given its start token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST = 1e6


class ScriptedAnswers:
    """The scripts that a T5 writes, one after the other, from the first one on after `restart`.

    Args:
        network: a T5 of transformers, which gets hooks.
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
        """Advance to the script's next token, or to the next script at a start token, before a step."""
        ids = named["decoder_input_ids"]
        if ids.shape[1] == 1 and int(ids[0, 0]) == self._start:
            self._answer, self._step = self._answer + 1, -1
        self._step += 1

    def _write(self, network: Any, inputs: Any, output: Any) -> None:
        """Give the script's token the largest logit at the output's last position, after a step."""
        output.logits[:, -1, self._scripts[self._answer][self._step]] = _LARGEST
