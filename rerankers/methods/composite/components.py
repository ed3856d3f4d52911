"""Options of methods made of other methods: how components are named, and what follows from theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from rerankers import registry
from rerankers.errors import InputError
from rerankers.options import MethodOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.work import RequestSize


class Component(BaseModel):
    """A reranker with its options, written as in an experiment."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """The registered name, or `module:Class`."""

    options: dict[str, Any] = Field(default_factory=dict)
    """The reranker's options."""

    _validated: MethodOptions = PrivateAttr()

    @model_validator(mode="after")
    def _options_are_valid(self) -> Component:
        try:
            if registry.options_model(self.name).needs_qrels:
                raise InputError(f"{self.name!r} looks at the judgements and cannot be a component")
            self._validated = registry.validated(self.name, self.options)
        except InputError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def validated(self) -> MethodOptions:
        """The options, complete, and what follows from them."""
        return self._validated

    @property
    def embeds_passages(self) -> bool | None:
        """True if `prepare` fills embedding stores only; None where this is not known."""
        return registry.embeds_passages(self.name, self.validated)


class CompositeOptions(MethodOptions):
    """Options of a reranker made of components: their models, calls and costs are joined."""

    @property
    def components(self) -> Sequence[Component]:
        """The rerankers that are asked, in their order."""
        raise NotImplementedError

    @property
    def models(self) -> tuple[tuple[str, str | None], ...]:
        """The models of every component, each of them once."""
        return tuple(dict.fromkeys(model for options in self._options() for model in options.models))

    @property
    def is_remote(self) -> bool:
        """True if any component calls an endpoint."""
        return any(options.is_remote for options in self._options())

    @property
    def is_priced(self) -> bool:
        """True if the price of every component's calls is known."""
        return all(options.is_priced for options in self._options())

    @property
    def is_replayed(self) -> bool:
        """True if a response cache may stand in for any component's calls."""
        return any(options.is_replayed for options in self._options())

    @property
    def missing_key(self) -> str | None:
        """The first key that a component lacks."""
        return next((options.missing_key for options in self._options() if options.missing_key), None)

    @property
    def may_use_gpu(self) -> bool:
        """True if any component computes in this process."""
        return any(options.may_use_gpu for options in self._options())

    @property
    def embeds_passages(self) -> bool | None:
        """True if any component embeds passages ahead; None if one is unknown."""
        statements = [component.embeds_passages for component in self.components]
        return None if None in statements else any(statements)

    @property
    def reads_instruction(self) -> bool:
        """True if any component reads it."""
        return any(options.reads_instruction for options in self._options())

    def decisive(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options as the user gave them, without those that affect nothing, in components neither."""
        given = super().decisive(options)
        for name, value in given.items():
            if getattr(self, name) is self.components:
                given[name] = [_decisive(*pair) for pair in zip(self.components, value, strict=True)]
        return given

    def sizes(self, size: RequestSize) -> list[RequestSize]:
        """Return how large each component's request is."""
        return [size for _ in self.components]

    def work(self, size: RequestSize) -> Work | None:
        """Return the sum over the components; None if one of them does not say."""
        total = Work()
        for options, part in zip(self._options(), self.sizes(size), strict=True):
            work = options.work(part)
            if work is None:
                return None
            total += work
        return total

    def dollars(self, size: RequestSize) -> float | None:
        """Return the sum over the components; None if none is charged for."""
        parts = zip(self._options(), self.sizes(size), strict=True)
        costs = [cost for options, part in parts if (cost := options.dollars(part)) is not None]
        return sum(costs) if costs else None

    def _options(self) -> list[MethodOptions]:
        return [component.validated for component in self.components]


def _decisive(component: Component, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a component as the user gave it, without the options that affect nothing."""
    options = component.validated.decisive(component.options)
    return {name: options if name == "options" else value for name, value in given.items()}
