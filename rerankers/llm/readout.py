"""A causal LM's logits at the end of many prompts, with as little computation as exactness allows.

Prompts are batched by length under a token budget and padded on the right, where causal attention never
looks, so that no mask is needed. On a CPU transformers' own passes read them in one row instead, without
padding (`rerankers.llm.packed`). The vocabulary projection, often a third of a small model, runs at the
positions asked for alone. The prefix that all prompts share (a system message, an instruction, the query) is
prefilled once and its keys and values are repeated over the rows. Where a model would give other logits that
way (`rerankers.llm.exactness`), prompts are read whole, or one by one.
"""

from __future__ import annotations

import copy
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from rerankers.errors import ModelError
from rerankers.llm.packed import Packed, packing
from rerankers.models.batching import length_sorted_batches
from rerankers.models.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from rerankers.llm.causal import CausalLM

_WORTH_SHARING = 256  # tokens saved, below which one more forward pass costs more than it saves


def score_ends(
    llm: CausalLM,
    prompts: Sequence[Sequence[int]],
    keep: Sequence[int],
    batch_tokens: int,
    score: Callable[[list[int], torch.Tensor], torch.Tensor],
) -> list[float]:
    """Return a score for each prompt, computed from the logits at its last positions.

    Args:
        llm: the model.
        prompts: token ids; none empty.
        keep: the number of last positions wanted of each prompt.
        batch_tokens: tokens in one forward pass, padding included, the shared prefix not counted.
        score: returns scores (rows,) from the prompt positions of a batch, and its logits (rows, k,
            vocabulary) where k is the batch's largest `keep` and a row's own positions are its last ones.
    """
    import torch

    shared = _shared_prefix(prompts, keep) if llm.exactness.shares else 0
    rest = [list(prompt[shared:]) for prompt in prompts]
    with torch.inference_mode():
        past = _read(llm, list(prompts[0][:shared])) if shared else None
    picked = threading.local()  # of hidden states (rows, longest, d_llm), by the thread that runs the batch
    scores = torch.empty(len(prompts))
    packs = llm.device.type == "cpu" and not llm.passes.are_static and llm.exactness.packs

    def read(batch: list[int]) -> None:
        """Run a batch of prompts, by their positions, and put their scores into `scores`."""
        rows, count = [rest[position] for position in batch], max(keep[position] for position in batch)
        picked.at = _last_positions(llm, rows, count, packs=packs)
        forward = _forward_packed if packs else _forward
        scores[batch] = score(batch, forward(llm, rows, past, shared)).float().cpu()

    picking = llm.model.get_output_embeddings().register_forward_pre_hook(
        lambda _, inputs: (inputs[0][picked.at],), prepend=True
    )
    with picking, packing(llm.model) if packs else nullcontext():
        lengths = [len(ids) for ids in rest]
        budget = batch_tokens if llm.exactness.pads else 1  # one prompt a batch
        batches = length_sorted_batches(lengths, budget, llm.device, are_padded=not packs)
        side_by_side(read, batches, llm.device)
    values: list[float] = scores.tolist()
    return values


def end_logits(llm: CausalLM, prompts: Sequence[list[int]]) -> torch.Tensor:
    """Return the logits after each prompt, (prompts, vocabulary), all read in one pass.

    No prefix is shared: behind one, attention takes a mask and computes every pair of tokens. For prompts of
    thousands of tokens that costs more than a short prefix saves.

    Args:
        llm: the model; it reads padded rows exactly if there are several prompts.
        prompts: token ids; none empty.
    """
    import torch

    ends = _last_positions(llm, list(prompts), 1, packs=False)
    picking = llm.model.get_output_embeddings().register_forward_pre_hook(
        lambda _, inputs: (inputs[0][ends],), prepend=True
    )
    with picking, torch.inference_mode():
        return _forward(llm, list(prompts), None, 0)[:, 0]


def _shared_prefix(prompts: Sequence[Sequence[int]], keep: Sequence[int]) -> int:
    """Return the number of tokens that all prompts begin with, short of the wanted positions.

    It is 0 if sharing would not pay.
    """
    limit = min(len(prompt) - max(keep) for prompt in prompts)
    first = prompts[0]
    length = 0
    while length < limit and all(prompt[length] == first[length] for prompt in prompts):
        length += 1
    return length if length * (len(prompts) - 1) >= _WORTH_SHARING else 0


def _read(llm: CausalLM, ids: list[int]) -> Any:
    """Return the cache of keys and values of one sequence of token ids."""
    import torch

    return llm.passes.run(torch.tensor([ids], device=llm.device), None)[1]


def _last_positions(
    llm: CausalLM, rows: list[list[int]], count: int, *, packs: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the row and column indices of the last `count` positions of prompts: (rows, 1) and (rows,
    count).

    Prompts are rows padded on the right, or with `packs` one after the other in a single row.
    """
    import torch

    lengths = torch.tensor([len(row) for row in rows])
    wanted = (lengths[:, None] - count + torch.arange(count)).clamp(min=0)
    numbers = torch.arange(len(rows), device=llm.device)[:, None]
    if packs:
        wanted += (lengths.cumsum(0) - lengths)[:, None]
        numbers = torch.zeros_like(numbers)
    return numbers, wanted.to(llm.device)


def _forward_packed(llm: CausalLM, rows: list[list[int]], past: Any, shared: int) -> torch.Tensor:
    """Return the logits of prompts packed into one row, at the positions that the projection picks.

    Args:
        llm: the model.
        rows: token ids after the shared prefix.
        past: the prefix's cache; None for none.
        shared: tokens of the prefix.
    """
    import torch

    packed = Packed(shared, [len(row) for row in rows])
    logits: torch.Tensor = llm.model(
        input_ids=torch.tensor([[token for row in rows for token in row]], device=llm.device),
        position_ids=torch.tensor([packed.positions(is_cached=True)], device=llm.device),
        past_key_values=copy.deepcopy(past),
        use_cache=past is not None,
        packed=packed,
    ).logits
    return logits


def _forward(llm: CausalLM, rows: list[list[int]], past: Any, _: int) -> torch.Tensor:
    """Return the logits of prompts padded on the right, at the positions that the projection picks.

    Args:
        llm: the model.
        rows: token ids after the shared prefix.
        past: the prefix's cache; None for none.
    """
    import torch

    tokens = torch.full((len(rows), max(map(len, rows))), llm.tokenizer.pad_token_id)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
    return llm.passes.read_behind(tokens.to(llm.device), past)


def read_only(model: Any, tokens: Sequence[int]) -> None:
    """Change a model to compute the logits of a few tokens only, in this order, in float32.

    Each logit is a product of its own, so in float32 the logits stay the same. In half precision they get
    finer: bfloat16 logits near 20 are 0.125 apart, so that many passages would tie. A scale or cap that the
    model applies to its logits stays in force.

    Args:
        model: a model of transformers; its output layer is replaced.
        tokens: the token ids.
    """
    import torch

    head = model.get_output_embeddings()
    rows = torch.nn.Linear(head.in_features, len(tokens), bias=head.bias is not None, device="meta")
    rows.weight = torch.nn.Parameter(head.weight[list(tokens)].float().clone(), requires_grad=False)
    if head.bias is not None:
        rows.bias = torch.nn.Parameter(head.bias[list(tokens)].float().clone(), requires_grad=False)
    rows.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    model.set_output_embeddings(rows)


def log_probability(yes: torch.Tensor, no: torch.Tensor) -> torch.Tensor:
    """Return log P(yes), with P over the two answers, from their logits, of the same shape as they.

    It does not saturate: where P would round to 1, it is minus the exponential of the difference.
    """
    from torch.nn.functional import logsigmoid

    return logsigmoid(yes.float() - no.float())


def check_offsets(tokenizer: Any) -> None:
    """Refuse a tokenizer that gives no character offsets of its tokens, by which passages are cut.

    Raises:
        ModelError: it is a slow tokenizer.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"{type(tokenizer).__name__} is a slow tokenizer, which gives no character offsets. "
            "Put a tokenizer.json beside config.json."
        )


def cut_to_tokens(tokenizer: Any, texts: Sequence[str], limit: int) -> tuple[list[str], list[bool]]:
    """Return each text cut to its first `limit` tokens, and whether it was cut.

    The text is cut, not its token ids, so that prompts are tokenised whole, as in training.

    Args:
        tokenizer: one that has passed `check_offsets`.
        texts: the texts.
        limit: tokens of a text at most.
    """
    cut, truncated = list(texts), [False] * len(texts)
    long = [i for i, text in enumerate(texts) if len(text.encode()) > limit]  # a token covers a byte or more
    if long:
        encoded = tokenizer(
            [texts[i] for i in long], add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        for i, offsets in zip(long, encoded["offset_mapping"], strict=True):
            if len(offsets) > limit:
                cut[i], truncated[i] = texts[i][: offsets[limit - 1][1]], True
    return cut, truncated
