"""Prices of calls: a dated price list, and a budget that is never exceeded."""

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
    """Dollars per million tokens.

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
        """Charge cached tokens as fresh ones where nobody gives a price for them."""
        is_without = isinstance(values, dict) and "input" in values and values.get("cached") is None
        return {**values, "cached": values["input"]} if is_without else values

    def dollars(self, prompt_tokens: int, cached_tokens: int, generated_tokens: int) -> float:
        """Return the cost of calls; cached tokens are a part of the prompt's, reasoning of the generated."""
        fresh = max(0, prompt_tokens - cached_tokens)
        return (fresh * self.input + cached_tokens * self.cached + generated_tokens * self.output) / 1e6

    def of(self, exchange: Exchange) -> float:
        """Return the dollars of one call."""
        return self.dollars(exchange.prompt_tokens, exchange.cached_tokens, exchange.generated_tokens)


class RerankPrice(BaseModel):
    """The price of a rerank endpoint: dollars per million tokens, dollars per thousand calls, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    calls: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    def of(self, exchange: Exchange) -> float:
        """Return the dollars of one call."""
        return exchange.prompt_tokens * self.tokens / 1e6 + self.calls / 1e3


def find_price(model: str) -> Price | None:
    """Return the listed price of a model or of a dated snapshot of it; None where none is listed."""
    listed = tomllib.loads((Path(__file__).parent / "prices.toml").read_text(encoding="utf-8"))
    for name, price in listed["models"].items():
        if re.fullmatch(re.escape(name) + _SNAPSHOT, model):
            return Price(**price, as_of=listed["as_of"])
    return None


class Budget:
    """Dollars that calls may cost together, whichever reranker and process makes them.

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
        """Set dollars aside; False, and nothing changes, if there are not as many left.

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
        """Book what a call did cost in place of what was set aside for it.

        Where the ledger cannot be written, what was set aside stays booked until the next amount is written.
        """
        with suppress(OSError):
            self._add(dollars - reserved, is_estimate)

    def exhausted(self) -> BackendError:
        """Return the error that ends a run."""
        return BackendError(
            f"the next call could exceed the budget of ${self.dollars:.2f} (${self._spent:.4f} are spent); "
            "raise the budget and run again to go on"
        )

    def _add(self, dollars: float, is_estimate: bool = False) -> None:
        self._spent += dollars
        if self._ledger is not None:
            self._ledger.add(dollars, is_estimate)


class Tab(Budget):
    """The account of one cell's payments, out of a budget where there is one.

    Args:
        budget: pays, and may refuse; None refuses nothing.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        super().__init__(math.inf if budget is None else budget.dollars)
        self._budget = budget
        self._lock = threading.Lock()

    def reserve(self, dollars: float) -> bool:
        """Set dollars aside in both; False, and nothing changes, if the budget does not have them."""
        with self._lock:
            if self._budget is not None and not self._budget.reserve(dollars):
                return False
            self._spent += dollars
            return True

    def settle(self, reserved: float, dollars: float, is_estimate: bool = False) -> None:
        """Book what a call did cost in both."""
        with self._lock:
            if self._budget is not None:
                self._budget.settle(reserved, dollars, is_estimate)
            self._spent += dollars - reserved

    def exhausted(self) -> BackendError:
        """Return the budget's error that ends a run."""
        return super().exhausted() if self._budget is None else self._budget.exhausted()


@dataclass(slots=True)
class Bill:
    """The charge of one call: at first the most it can cost, which stays where no response says less."""

    dollars: float
    is_estimate: bool = True


class Account:
    """A budget from which calls that are under way at once are paid."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._settled = asyncio.Condition()
        self._under_way = 0

    @asynccontextmanager
    async def bill(self, most: float) -> AsyncIterator[Bill]:
        """Set aside the most that a call can cost, waiting while calls under way hold it; then pay its bill.

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
