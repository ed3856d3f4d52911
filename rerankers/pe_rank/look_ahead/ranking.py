"""The ranking of a single query with look-ahead, its stages and its usage."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from rerankers.pe_rank.look_ahead.sliding_query import SlidingQuery

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from rerankers.pe_rank.look_ahead.sliding_query import SlidingWindow
    from rerankers.pe_rank.look_ahead.token_tree import TokenTree
    from rerankers.pe_rank.prompt import Prompt, PromptWriter
    from rerankers.pe_rank.query_batch import QueryBatch


def rank_ahead(
    run: QueryBatch,
    projected: torch.Tensor,
    tree: TokenTree,
    writer: PromptWriter,
    windows: Sequence[SlidingWindow],
    free_tokens: int,
) -> list[int]:
    """Return the candidate positions of a batch's only query, best first.

    A forward pass that has to run a window's prompt is charged to `prefill`, any other one to `decode`, also
    where it runs the next window's prompt.

    Args:
        run: a batch of one query.
        projected: its passages in the input space, (candidates, dimension).
        tree: of the thread's decoder.
        writer: writes the prompts.
        windows: those to decode, tail first; at least one.
        free_tokens: see `SlidingQuery`.

    Raises:
        ModelError: a prompt is longer than the model's context.
    """
    [cost], clock = run.costs, run.clock
    with clock.stage("prompt", cost):
        prompts = {count: run.bare_prompt(writer, 0, count) for count in {w.end - w.start for w in windows}}
        for count, prompt in prompts.items():
            run.decoder.check_length([prompt], count)
    first_of = None if run.first_of is None else run.first_of[0]
    with clock.stage("prefill", cost):
        query = SlidingQuery(tree, windows, prompts.__getitem__, projected, first_of, free_tokens)
        cached = tree.ran
    while not query.is_over:
        with clock.stage("prefill" if query.is_at_a_prompt else "decode", cost):
            query.run_pass()
    usage, shown = cost.usage, [prompts[window.end - window.start] for window in windows]
    usage.windows += len(windows)
    usage.llm_calls += len(windows)
    usage.sequential_calls += len(windows)
    usage.generated_tokens += sum(window.depth for window in windows)
    usage.depths += [window.depth for window in windows]
    usage.control_tokens += sum(prompt.control_tokens for prompt in shown)
    usage.prompt_tokens += sum(len(prompt.token_ids) for prompt in shown)
    usage.cached_tokens += cached + sum(_shared_start(*pair) for pair in pairwise(shown))
    usage.decode_steps += query.passes - len(windows)  # the prompt of each window is in a pass of its own
    return query.order


def _shared_start(prompt: Prompt, following: Prompt) -> int:
    """Return the number of leading tokens that two prompts share before their first passage."""
    heads = [each.token_ids[: each.placeholders[0]] for each in (prompt, following)]
    shared = 0
    for tokens in zip(*heads, strict=False):
        if tokens[0] != tokens[1]:
            break
        shared += 1
    return shared
