"""Thoughts about a batch of prompts, and the verdict after each, as `rank1` gets them from a causal LM.

Thoughts are written greedily, all rows of a batch in one forward pass a step; a row that has finished leaves.
They end where the model closes them and says yes or no, where it ends its text, or when their budget is used
up. The verdict is read where the last token was generated if yes and no were both likely there. Otherwise the
thoughts are cut after their last sentence and closed, and the verdict is read behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from rerankers.errors import ModelError
from rerankers.llm.prefix import SharedPrefix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.interface import Cost
    from rerankers.llm.causal import CausalLM
    from rerankers.llm.prefix import Read
    from rerankers.pointwise.prompts import ReasoningPrompt
    from rerankers.stages import StageClock

LIKELY = 20  # tokens among which yes and no have to be, as the published code reads them
_LAST_TOKENS = 16  # decoded to find the end of thoughts, which takes fewer
_SENTENCE_ENDS = ".!?"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The model's verdict on one prompt, and the thoughts before it.

    Attributes:
        score: logit of yes minus logit of no.
        thoughts: the text of the thoughts.
        is_forced: whether they were ended by force.
    """

    score: float
    thoughts: str
    is_forced: bool


@dataclass(slots=True)
class _Row:
    """The thoughts about one prompt while they grow: their tokens so far, then their text and score."""

    written: list[int]
    text: str = ""
    has_verdict: bool = False
    score: float | None = None


def forced_prompt(prompt: str, thoughts: str, closing: str) -> str:
    """Return a prompt, its thoughts up to their last whole sentence, and the closing text, a line each.

    Thoughts without the end of a sentence stay whole.
    """
    thoughts = thoughts.rstrip()
    if not thoughts.endswith(tuple(_SENTENCE_ENDS)):
        end = max(thoughts.rfind(sign) for sign in _SENTENCE_ENDS)
        thoughts = thoughts[: end + 1] if end >= 0 else thoughts
    return f"{prompt}\n{thoughts.strip()}\n{closing}"


class ThoughtWriter:
    """A writer of thoughts and verdicts about prompts, by a causal LM.

    Args:
        llm: the model.
        template: states the text that closes thoughts, and the words for yes and no.
        budget: tokens of the longest thoughts; 0 for none.
        model: the model's name, for errors.

    Raises:
        ModelError: yes and no begin with one token.
    """

    def __init__(self, llm: CausalLM, template: ReasoningPrompt, budget: int, model: str) -> None:
        self._llm, self._budget, self._closing = llm, budget, template.closing
        ids = llm.tokenizer([template.yes, template.no], add_special_tokens=False)["input_ids"]
        self.yes, self.no = (row[0] for row in ids)
        if self.yes == self.no:
            raise ModelError(
                f"{model!r} begins {template.yes!r} and {template.no!r} with one token. Choose another model."
            )
        self._stops = [template.closing + template.yes, template.closing + template.no]
        configured = llm.model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        self._ends = {end for end in [*ends, llm.tokenizer.eos_token_id] if end is not None}
        self._head = _FineHead(llm.model, [self.yes, self.no])

    @torch.inference_mode()
    def judge(
        self,
        prompts: Sequence[str],
        token_ids: Sequence[list[int]],
        costs: Sequence[Cost],
        clock: StageClock,
    ) -> list[Verdict]:
        """Write thoughts about prompts, and return a verdict for each.

        Tokens and faults are counted in the costs.

        Args:
            prompts: as texts.
            token_ids: the same, tokenised.
            costs: the cost that each prompt is charged to.
            clock: charges the stages `prefill`, `think` and, for verdicts by force, `forward`.
        """
        prefix = SharedPrefix(self._llm)
        rows = [_Row([]) for _ in prompts]
        if self._budget:
            with clock.stage("prefill", *costs):
                read = prefix.read(token_ids)
            with clock.stage("think", *costs):
                self._think(read, rows)
            self._count(costs, token_ids, read.reused)
            self._count_thoughts(costs, rows)
        forced = [place for place, row in enumerate(rows) if row.score is None]
        if forced:
            payers = [costs[place] for place in forced]
            with clock.stage("forward", *payers):
                texts = [forced_prompt(prompts[place], rows[place].text, self._closing) for place in forced]
                prompt_ids = self._llm.tokenizer(texts, verbose=False)["input_ids"]
                read = prefix.read(prompt_ids)
                scores = self._head.difference(read.logits, range(len(forced)))
            self._count(payers, prompt_ids, read.reused)
            for place, score in zip(forced, scores, strict=True):
                rows[place].score = score
                if self._budget:
                    costs[place].usage.fault("cut_off")
        verdicts = []
        for place, row in enumerate(rows):
            is_forced = place in forced
            costs[place].usage.well_formed += not is_forced
            verdicts.append(Verdict(row.score or 0.0, row.text, is_forced))
        return verdicts

    def _think(self, read: Read, rows: list[_Row]) -> None:
        """Decode the thoughts of every row until all have ended, and read the verdicts of those that have
        one.

        Args:
            read: the prefilled prompts.
            rows: one for each prompt; they are filled.
        """
        open_rows = list(range(len(rows)))
        while True:
            tokens = read.tokens.tolist()  # the one wait for the device
            ended = []
            for place, number in enumerate(open_rows):
                rows[number].written.append(tokens[place])
                if self._has_ended(rows[number]):
                    ended.append(place)
            if ended:
                self._read_verdicts(read.logits, ended, [rows[open_rows[place]] for place in ended])
                kept = [place for place in range(len(open_rows)) if place not in set(ended)]
                open_rows = [open_rows[place] for place in kept]
                if not open_rows:
                    return
                read.select(kept)
            read.step()

    def _has_ended(self, row: _Row) -> bool:
        """Return whether a row's thoughts end with its last token; if so, set the row's text."""
        tokenizer: Any = self._llm.tokenizer
        recent = tokenizer.decode(row.written[-_LAST_TOKENS:], skip_special_tokens=True)
        row.has_verdict = any(stop in recent for stop in self._stops)
        has_ended = row.has_verdict or row.written[-1] in self._ends or len(row.written) == self._budget
        if has_ended:
            row.text = tokenizer.decode(row.written, skip_special_tokens=True)
            if row.has_verdict:
                row.text = row.text[: min(at for stop in self._stops if (at := row.text.find(stop)) >= 0)]
        return has_ended

    def _read_verdicts(self, logits: torch.Tensor, places: Sequence[int], rows: Sequence[_Row]) -> None:
        """Set the score of rows whose thoughts have ended; None where yes and no were not both likely there.

        Args:
            logits: of the last tokens, (open rows, vocabulary).
            places: the positions of the ended rows in `logits`.
            rows: the ended rows.
        """
        likely = logits[list(places)].topk(min(LIKELY, logits.shape[1])).indices
        both = ((likely == self.yes).any(1) & (likely == self.no).any(1)).tolist()
        scores = self._head.difference(logits, places)
        for row, is_known, score in zip(rows, both, scores, strict=True):
            row.score = score if is_known else None

    def _count(self, costs: Sequence[Cost], token_ids: Sequence[list[int]], reused: Sequence[int]) -> None:
        """Add one call to the cost of each prompt, with its prompt tokens and those of them that came from a
        cache.

        Args:
            costs: one for each prompt.
            token_ids: the prompts.
            reused: tokens of each prompt that came from a cache.
        """
        for cost, ids, kept in zip(costs, token_ids, reused, strict=True):
            cost.usage.llm_calls += 1
            cost.usage.prompt_tokens += len(ids)
            cost.usage.cached_tokens += kept

    def _count_thoughts(self, costs: Sequence[Cost], rows: Sequence[_Row]) -> None:
        """Add the generated tokens and decode steps to the cost of each row.

        Rows of one cost are decoded together, so it gets the steps of its longest row.
        """
        steps: dict[int, int] = {}
        for cost, row in zip(costs, rows, strict=True):
            usage, count = cost.usage, len(row.written)
            usage.generated_tokens += count
            usage.reasoning_tokens += count - row.has_verdict
            before = steps.get(id(usage), 0)
            steps[id(usage)] = max(before, count - 1)
            usage.decode_steps += steps[id(usage)] - before


class _FineHead:
    """A head that gives the difference of two logits in float32 where the model gives them in half precision.

    bfloat16 logits near 20 are 0.125 apart, so that many passages would tie. Models that change their logits
    afterwards (a scale, a cap) keep their own.

    Args:
        model: a causal LM of transformers; a hook keeps the hidden states of its last forward pass.
        tokens: the ids of yes and no.
    """

    def __init__(self, model: Any, tokens: Sequence[int]) -> None:
        self._tokens = list(tokens)
        self._hidden = torch.empty(0)  # of the last forward pass, (rows, dimension)
        self._weight: torch.Tensor | None = None
        head, config = model.get_output_embeddings(), model.config.get_text_config()
        changes = ("final_logit_softcapping", "logit_scale", "logits_scaling")
        if model.dtype == torch.float32 or any(getattr(config, name, None) for name in changes):
            return
        yes, no = head.weight[self._tokens].float()
        self._weight = yes - no
        self._bias = 0.0 if head.bias is None else float(head.bias[tokens[0]] - head.bias[tokens[1]])
        head.register_forward_pre_hook(self._keep)

    def _keep(self, _: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        """Keep the hidden states of the last positions, (rows, dimension), as a hook before the
        output layer.
        """
        self._hidden = inputs[0][:, -1]

    def difference(self, logits: torch.Tensor, places: Sequence[int]) -> list[float]:
        """Return the logit of yes minus that of no, for some rows of the last forward pass.

        Args:
            logits: of that forward pass, (rows, vocabulary).
            places: the rows.
        """
        if self._weight is None:
            yes, no = logits[list(places)][:, self._tokens].float().unbind(dim=1)
            differences: list[float] = (yes - no).tolist()
        else:
            differences = (self._hidden[list(places)].float() @ self._weight + self._bias).tolist()
        return differences
