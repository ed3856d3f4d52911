"""What tokens cost: a dated price list, and a budget that is never exceeded."""

from __future__ import annotations

import asyncio
import re
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from rerankers.errors import BackendError, InputError

_SNAPSHOT = r"(-\d{4}(-\d{2}-\d{2})?)?"  # gpt-4o-2024-08-06, gpt-3.5-turbo-0125


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens, and the date of the list they are from."""

    input: float
    cached: float
    output: float
    as_of: str

    def dollars(self, prompt_tokens: int, cached_tokens: int, generated_tokens: int) -> float:
        """The cost of some calls; cached tokens are a part of the prompt's, reasoning of the generated."""
        fresh = prompt_tokens - cached_tokens
        return (fresh * self.input + cached_tokens * self.cached + generated_tokens * self.output) / 1e6

    def describe(self) -> dict[str, object]:
        """JSON values."""
        return asdict(self)


def find_price(model: str) -> Price | None:
    """The listed price of a model or of a dated snapshot of it; None where none is listed."""
    listed = tomllib.loads((Path(__file__).parent / "prices.toml").read_text(encoding="utf-8"))
    for name, price in listed["models"].items():
        if re.fullmatch(re.escape(name) + _SNAPSHOT, model):
            return Price(**price, as_of=listed["as_of"])
    return None


class Budget:
    """Dollars that calls may cost together.

    A call reserves the most it can cost before it is made, and waits if only calls still under way stand in
    its way; so the budget is never exceeded, and used as far as it goes.

    Raises:
        InputError: no price is known for the model.
    """

    def __init__(self, dollars: float, price: Price | None, model: str) -> None:
        if price is None:
            raise InputError(
                f"no price is listed for {model!r}, so budget_dollars cannot be kept; leave it out"
            )
        self._dollars = dollars
        self._price = price
        self._spent = 0.0
        self._reserved: list[float] = []
        self._changed = asyncio.Condition()

    async def reserve(self, prompt_tokens: int, generated_tokens: int) -> float:
        """Set aside what a call can cost at most; the dollars set aside.

        Raises:
            BackendError: the budget could be exceeded.
        """
        most = self._price.dollars(prompt_tokens, 0, generated_tokens)
        async with self._changed:
            while self._spent + sum(self._reserved) + most > self._dollars:
                if not self._reserved:
                    raise BackendError(
                        f"the next call could exceed the budget of ${self._dollars:.2f} (${self._spent:.4f} "
                        "are spent); raise budget_dollars and run again to go on"
                    )
                await self._changed.wait()
            self._reserved.append(most)
        return most

    async def settle(
        self, reserved: float, prompt_tokens: int, cached_tokens: int, generated_tokens: int
    ) -> None:
        """Book what a call did cost in place of what was set aside for it."""
        async with self._changed:
            self._reserved.remove(reserved)
            self._spent += self._price.dollars(prompt_tokens, cached_tokens, generated_tokens)
            self._changed.notify_all()
