"""Prices of calls, and budgets in dollars that calls never exceed."""

from __future__ import annotations

import asyncio
import math
import re
import threading
import tomllib
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rerankers.endpoints.ledger import Ledger
from rerankers.errors import BackendError, InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rerankers.endpoints.exchange import Exchange

_SNAPSHOT = r"(-\d{4}(-\d{2}-\d{2})?)?"  # gpt-4o-2024-08-06, gpt-3.5-turbo-0125


class Price(BaseModel):
    """The price of a chat model, in dollars per million tokens.

    Attributes:
        input: for tokens of a prompt.
        cached: for tokens of a prompt that the endpoint had in its cache; by default as much as `input`.
        output: for generated tokens.
        as_of: the date of the list that the price is from; None for a price given by hand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0, allow_inf_nan=False)
    cached: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    as_of: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _cached_costs_as_much_as_input(cls, values: Any) -> Any:
        """Return the values with `cached` set to the price of `input` where it is not given."""
        is_without = isinstance(values, dict) and "input" in values and values.get("cached") is None
        return {**values, "cached": values["input"]} if is_without else values

    def dollars(self, prompt_tokens: int, cached_tokens: int, generated_tokens: int) -> float:
        """Return the cost in dollars of so many tokens.

        Args:
            prompt_tokens: of all prompts, cached ones included.
            cached_tokens: those of them that cost `cached`.
            generated_tokens: of all completions, reasoning included.
        """
        fresh = max(0, prompt_tokens - cached_tokens)
        return (fresh * self.input + cached_tokens * self.cached + generated_tokens * self.output) / 1e6

    def of(self, exchange: Exchange) -> float:
        """Return the cost of one call in dollars."""
        return self.dollars(exchange.prompt_tokens, exchange.cached_tokens, exchange.generated_tokens)


class RerankPrice(BaseModel):
    """The price of a rerank endpoint: dollars per million tokens, dollars per thousand calls, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    calls: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    def of(self, exchange: Exchange) -> float:
        """Return the cost of one call in dollars."""
        return exchange.prompt_tokens * self.tokens / 1e6 + self.calls / 1e3


def find_price(model: str) -> Price | None:
    """Return the price that the built-in list has for a model or a dated snapshot of it.

    None if it has none.
    """
    listed = tomllib.loads((Path(__file__).parent / "prices.toml").read_text(encoding="utf-8"))
    for name, price in listed["models"].items():
        if re.fullmatch(re.escape(name) + _SNAPSHOT, model):
            return Price(**price, as_of=listed["as_of"])
    return None


class Budget:
    """A limit in dollars that calls share, whichever reranker and process makes them.

    What a call can cost at most is set aside before it is made, and corrected by what it did cost. Both go
    into a ledger, one amount a line, so a call that a killed process had under way stays counted in full.
    Lines that rest on an estimate, because nobody reported a call's tokens, say so.

    Args:
        dollars: what may be spent, earlier runs with the same ledger included.
        ledger: a file of amounts, made if it is not there; None keeps them in memory.

    Raises:
        InputError: the amount is negative or not a number, or the ledger holds a line that is no amount.
    """

    def __init__(self, dollars: float, ledger: Path | None = None) -> None:
        if not dollars >= 0:  # with NaN, every comparison would allow the next call
            raise InputError(f"budget {dollars}: not an amount of dollars. Give a number from 0 on")
        self.dollars = dollars
        self._ledger = None if ledger is None else Ledger(ledger)
        self._spent = 0.0 if self._ledger is None else self._ledger.total

    @property
    def spent(self) -> float:
        """Dollars spent or set aside."""
        return self._spent

    def reserve(self, dollars: float) -> bool:
        """Set dollars aside for a call and return True.

        Return False, and change nothing, if too few are left.

        Raises:
            BackendError: the ledger cannot be written, and nothing changes.
        """
        if self._spent + dollars > self.dollars:
            return False
        try:
            self._add(dollars)
        except OSError as error:
            self._spent -= dollars
            if self._ledger is not None:
                self._ledger.forget()
                raise BackendError(
                    f"{self._ledger.path}: cannot be written ({error.strerror}), so the budget cannot be "
                    "kept; make room and run again"
                ) from error
        return True

    def settle(self, reserved: float, dollars: float, is_estimate: bool = False) -> None:
        """Replace the dollars set aside for a call by what it did cost.

        Where the ledger cannot be written, what was set aside stays booked until the next amount is written.

        Args:
            reserved: dollars that were set aside.
            dollars: what the call cost.
            is_estimate: whether its tokens are an estimate.
        """
        with suppress(OSError):
            self._add(dollars - reserved, is_estimate)

    def exhausted(self) -> BackendError:
        """Return the error to raise when the budget cannot cover the next call."""
        return BackendError(
            f"the next call could exceed the budget of ${self.dollars:.2f} (${self._spent:.4f} are spent); "
            "raise the budget and run again to go on"
        )

    def _add(self, dollars: float, is_estimate: bool = False) -> None:
        """Add dollars to those spent, and to the ledger if there is one."""
        self._spent += dollars
        if self._ledger is not None:
            self._ledger.add(dollars, is_estimate)


class Tab(Budget):
    """The account of one cell's calls: it adds up their cost, and charges a shared budget if there is one.

    Args:
        budget: is charged, and may refuse; None refuses nothing.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        super().__init__(math.inf if budget is None else budget.dollars)
        self._budget = budget
        self._lock = threading.Lock()

    def reserve(self, dollars: float) -> bool:
        """Set dollars aside here and in the shared budget.

        Return False, and change nothing, if the budget refuses.
        """
        with self._lock:
            if self._budget is not None and not self._budget.reserve(dollars):
                return False
            self._spent += dollars
            return True

    def settle(self, reserved: float, dollars: float, is_estimate: bool = False) -> None:
        """Replace the dollars set aside for a call by what it did cost, here and in the shared budget."""
        with self._lock:
            if self._budget is not None:
                self._budget.settle(reserved, dollars, is_estimate)
            self._spent += dollars - reserved

    def exhausted(self) -> BackendError:
        """Return the error to raise when the shared budget cannot cover the next call."""
        return super().exhausted() if self._budget is None else self._budget.exhausted()


@dataclass(slots=True)
class Bill:
    """The charge of one call in dollars: at first the most it can cost, until a response says less."""

    dollars: float
    is_estimate: bool = True


class Account:
    """A budget of calls that run at the same time: a call waits for dollars that others have set aside."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._settled = asyncio.Condition()
        self._under_way = 0

    @asynccontextmanager
    async def bill(self, most: float) -> AsyncIterator[Bill]:
        """Set `most` dollars aside, run the block, and settle the dollars that the block wrote into the bill.

        If too few are left, it first waits for calls under way, which may give some back.

        Raises:
            BackendError: the budget does not suffice, and no call is under way that may give some back.
        """
        async with self._settled:
            while not self._budget.reserve(most):
                if not self._under_way:
                    raise self._budget.exhausted()
                await self._settled.wait()
            self._under_way += 1
        bill = Bill(most)
        try:
            yield bill
        finally:
            self._budget.settle(most, bill.dollars, bill.is_estimate)
            async with self._settled:
                self._under_way -= 1
                self._settled.notify_all()
