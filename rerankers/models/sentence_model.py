"""The loading of sentence-transformers models, and their runs on length-sorted batches under a token budget.

`preprocess` tokenises all texts of a call at once; a batch takes its rows without the padding they share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerankers.models.batching import length_sorted_batches
from rerankers.models.devices import resolve_device, resolve_dtype
from rerankers.models.folder import check_hub_model
from rerankers.models.loading_report import complete_weights
from rerankers.models.remote_code import loading
from rerankers.models.side_by_side import side_by_side
from rerankers.models.stated_code import check_stated_code
from rerankers.models.vocabulary import check_rows, check_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers.methods.pointwise.sentence_model import SentenceModelOptions
    from rerankers.models.locate import ModelFiles

_WHOLE: dict[str, Any] = {"text": {"padding": False, "truncation": False}, "common": {"return_tensors": None}}

Features = Any
"""`preprocess` output: tensors of shape (texts, longest text), and settings."""


def load_sentence_model(
    make: Callable[..., Any],
    kind: str,
    files: ModelFiles,
    options: SentenceModelOptions,
    may_lack: str | None = None,
) -> tuple[Any, dict[str, object]]:
    """Return a loaded model in evaluation mode, and the record's entry on its origin.

    Args:
        make: `CrossEncoder` or a class like it.
        kind: the kind of model, for errors.
        files: the location of the model.
        options: device, dtype, attention and remote code.
        may_lack: a pattern of weights that may be missing.

    Raises:
        InputError: no such device.
        ModelError: the model does not load, its weights are not complete, or its vocabulary is empty.
    """
    target = resolve_device(options.device)
    check_hub_model(files)
    check_stated_code(files, options.trust_remote_code)
    how: dict[str, Any] = {"dtype": resolve_dtype(options.dtype, target)}
    if options.attention != "auto":
        how["attn_implementation"] = options.attention
    with loading(kind, files.name, options.trust_remote_code), complete_weights(files.name, may_lack):
        model = make(
            files.location,
            revision=files.revision,
            device=str(target),
            trust_remote_code=options.trust_remote_code,
            model_kwargs=how,
        )
        check_vocabulary(files.name, model.tokenizer)
        check_rows(files.name, model.tokenizer, model.transformers_model)
    model[0].unpad_inputs = False  # rows are sliced into batches, so they must stay rows
    described = {
        "model": files.name,
        "revision": getattr(model[0].config, "_commit_hash", None) or files.fingerprint,
        "remote_code": options.trust_remote_code,
        "control_tokens": options.control_tokens,
    }
    return model.eval(), described


def lengths_and_cuts(
    model: Any, features: Features, texts: Sequence[Any], **how: Any
) -> tuple[list[int], list[bool]]:
    """Return the number of tokens of each text, and whether it was cut.

    Args:
        model: the model that made the features.
        features: of the texts, padded.
        texts: texts or pairs.
        how: the other arguments of `preprocess` that made the features.
    """
    lengths: list[int] = features["attention_mask"].sum(dim=1).tolist()
    if features.encodings is None:  # a tokenizer without the fast backend does not say what it cut
        whole = model.preprocess(list(texts), processing_kwargs=_WHOLE, **how)["input_ids"]
        return lengths, [len(ids) > length for ids, length in zip(whole, lengths, strict=True)]
    return lengths, [bool(encoding.overflowing) for encoding in features.encodings]


def in_batches(
    model: Any,
    features: Features,
    lengths: Sequence[int],
    batch_tokens: int,
    read: Callable[[list[int], Features], None],
) -> None:
    """Call a function for each batch of texts, under a token budget; texts without tokens are left out.

    Args:
        model: the model whose tokenizer and device are used.
        features: of all texts, padded.
        lengths: tokens of each text.
        batch_tokens: the budget of a batch in tokens, padding included.
        read: called with the positions of the batch's texts, and their features on the model's device.
    """
    left = model.tokenizer.padding_side == "left"

    def cut_out(rows: list[int]) -> None:
        """Call `read` for the texts at these rows, longest first, without the padding they share."""
        longest = lengths[rows[0]]
        columns = slice(-longest, None) if left else slice(0, longest)
        batch = {
            name: value[rows, columns].to(model.device) if getattr(value, "ndim", 0) == 2 else value
            for name, value in features.items()
        }
        read(rows, batch)

    full = [row for row, length in enumerate(lengths) if length]
    batches = length_sorted_batches([lengths[row] for row in full], batch_tokens, model.device)
    side_by_side(cut_out, [[full[i] for i in batch] for batch in batches], model.device)
