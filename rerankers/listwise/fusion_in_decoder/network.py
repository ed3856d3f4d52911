"""Fusion in decoder: T5 reads passages apart, and its decoder attends to all of them (arXiv 2007.01282).

The encoder gets one prompt a passage, so its cost grows with the number of passages, not with its square. The
decoder sees the states of all prompts of a window behind each other; cross-attention has no positions, so
padding can be left out. The published codes pad every prompt to its limit and mask what they padded.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rerankers.errors import ModelError
from rerankers.llm.seq2seq import load_seq2seq
from rerankers.models.batching import length_sorted_batches, resolve_batch_tokens
from rerankers.models.locate import find_model
from rerankers.models.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    import torch

    from rerankers.llm.causal import NetworkOptions
    from rerankers.models.batching import BatchTokens

Prompt = tuple[int, ...]
"""Token ids of one passage's prompt, the end token included."""


class FusionInDecoder:
    """A T5 whose encoder reads a window's prompts one by one and whose decoder writes one answer.

    Args:
        model: hub id or folder of a T5 checkpoint.
        batch_tokens: tokens in one forward pass of the encoder, padding included.
        renamed: patterns of weight names in the files, and what transformers calls them.
        options: revision, device, dtype and attention.

    Raises:
        ModelError: the files do not load, or are not a T5.
    """

    def __init__(
        self,
        model: str,
        *,
        batch_tokens: BatchTokens,
        renamed: Mapping[str, str] | None = None,
        **options: Unpack[NetworkOptions],
    ) -> None:
        from transformers import T5Config, T5ForConditionalGeneration

        from rerankers.encoders.recipe import read_json

        kind = read_json(find_model(model, options.get("revision")), "config.json").get("model_type")
        if kind != T5Config.model_type:
            raise ModelError(f"{model!r} is a {kind} model, not a T5. Name a checkpoint of this method.")
        load = T5ForConditionalGeneration.from_pretrained
        architecture = SimpleNamespace(
            from_pretrained=partial(load, key_mapping=dict(renamed)) if renamed else load
        )
        loaded = load_seq2seq(model, architecture=architecture, **options)
        self.tokenizer: Any = loaded.tokenizer
        self.model: Any = loaded.network
        self.device = str(loaded.device)
        self._batch_tokens = resolve_batch_tokens(batch_tokens, loaded.device)
        self._described = {name: loaded.described[name] for name in ("model", "revision")}

    def prompts(self, texts: Sequence[str], limit: int) -> tuple[list[Prompt], list[bool]]:
        """Return the token ids of texts, each cut to `limit` tokens, and for each whether it was cut.

        The end token is kept.
        """
        rows = self.tokenizer(list(texts), verbose=False)["input_ids"] if texts else []
        are_cut = [len(row) > limit for row in rows]
        ended = [
            (*row[: limit - 1], row[-1]) if is_cut else tuple(row)
            for row, is_cut in zip(rows, are_cut, strict=True)
        ]
        return ended, are_cut

    def encode(self, prompts: Sequence[Prompt], states: dict[Prompt, torch.Tensor]) -> int:
        """Encode prompts: add their states (tokens, d_model) to `states`, and return the tokens read.

        A prompt that is in `states` already is not read again.
        """
        import torch

        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in states]

        def read(batch: list[int]) -> None:
            rows = [new[i] for i in batch]
            longest = max(map(len, rows))
            ids = torch.zeros(len(rows), longest, dtype=torch.long)
            mask = torch.zeros(len(rows), longest, dtype=torch.long)
            for number, row in enumerate(rows):
                ids[number, : len(row)] = torch.tensor(row)
                mask[number, : len(row)] = 1
            is_padded = not bool(mask.all())
            hidden = self.model.encoder(
                input_ids=ids.to(self.device), attention_mask=mask.to(self.device) if is_padded else None
            ).last_hidden_state  # (rows, longest, d_model)
            for number, row in enumerate(rows):
                states[row] = hidden[number, : len(row)]

        device = self.model.device
        side_by_side(
            read, length_sorted_batches([len(row) for row in new], self._batch_tokens, device), device
        )
        return sum(map(len, new))

    def decode(
        self,
        windows: Sequence[Sequence[torch.Tensor]],
        longest: Sequence[int],
        is_over: Callable[[int, list[int]], bool],
        note: Callable[[torch.Tensor], None] | None = None,
    ) -> tuple[list[list[int]], int]:
        """Write one answer for each window, greedily, all windows in one batch.

        Args:
            windows: for each window the states of its prompts, in the order shown.
            longest: most tokens of each answer.
            is_over: from a window's number and the tokens of its answer so far, whether the answer can end
                here;
                called after each token but the end token.
            note: given the logits (windows, vocabulary) of each step.

        Returns:
            The tokens of each answer, the end token not included, and the number of steps taken.
        """
        import torch

        states, mask = self._fused(windows)
        config = self.model.config
        answers: list[list[int]] = [[] for _ in windows]
        is_open = [True] * len(windows)
        current = torch.full((len(windows), 1), config.decoder_start_token_id, device=self.device)
        cache, steps = None, 0
        with torch.inference_mode():
            while any(is_open):
                output = self.model(
                    encoder_outputs=(states,),
                    attention_mask=mask,
                    decoder_input_ids=current,
                    past_key_values=cache,
                    use_cache=True,
                )
                cache, steps = output.past_key_values, steps + 1
                logits = output.logits[:, -1].float()  # (windows, vocabulary)
                if note is not None:
                    note(logits)
                current = logits.argmax(dim=-1, keepdim=True)
                for number, token in enumerate(current[:, 0].tolist()):
                    if not is_open[number]:
                        continue
                    if token == config.eos_token_id:
                        is_open[number] = False
                        continue
                    answer = answers[number]
                    answer.append(token)
                    is_open[number] = len(answer) < longest[number] and not is_over(number, answer)
        return answers, steps

    def _fused(self, windows: Sequence[Sequence[torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the concatenated states of each window, padded: (windows, longest, d_model), and their mask.

        The mask is None if all windows have one length.
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        rows = [torch.cat(list(window)) for window in windows]
        fused = pad_sequence(rows, batch_first=True)
        if len({len(row) for row in rows}) == 1:
            return fused, None
        lengths = torch.tensor([len(row) for row in rows], device=fused.device)
        mask = torch.arange(fused.shape[1], device=fused.device)[None, :] < lengths[:, None]
        return fused, mask.long()

    def text(self, answer: list[int]) -> str:
        """Return an answer's token ids as text, without control tokens."""
        text: str = self.tokenizer.decode(answer, skip_special_tokens=True)
        return text

    def describe(self) -> dict[str, object]:
        """Return the record's entry: model, revision or fingerprint, size, dtype, attention and device."""
        return {
            **self._described,
            "architecture": type(self.model).__name__,
            "parameters": sum(weight.numel() for weight in self.model.parameters()),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "attention": self.model.config._attn_implementation,
            "batch_tokens": self._batch_tokens,
            "device": self.device,
        }
