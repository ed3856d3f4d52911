"""The options of each reranker as one pydantic model, made from its constructor's signature.

Experiments, the command line and `registry.create` validate options against this model. A wrong option is
therefore found before a model is loaded or an endpoint is called.
"""

from __future__ import annotations

import inspect
import types
import typing
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from rerankers.errors import OptionError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerankers.interface import Reranker

_KINDS = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class OptionGroup(BaseModel):
    """Options that several rerankers share; a constructor takes them together, as one parameter."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Options:
    """What a constructor accepts.

    Attributes:
        model: every option as a field, those of groups included; `qrels` is left out, because the harness
            gives it.
        groups: the group that each constructor parameter takes, for parameters that take one.
    """

    model: type[BaseModel]
    groups: Mapping[str, type[OptionGroup]]

    @property
    def needed(self) -> list[str]:
        """Names of the options without a default."""
        return [name for name, field in self.model.model_fields.items() if field.is_required()]

    def is_list(self, name: str) -> bool:
        """Return whether an option's value is a list, which is then not a sweep."""
        return _takes_list(self.model.model_fields[name].annotation)

    def validate(self, reranker: str, options: Mapping[str, object]) -> BaseModel:
        """Check options; `reranker` is the name that errors use.

        Raises:
            UnknownNameError: an option is unknown.
            OptionError: an option is missing, or its value is not allowed.
        """
        for option in options:
            if option not in self.model.model_fields:
                raise UnknownNameError(f"option of {reranker}", option, self.model.model_fields)
            if isinstance(options[option], bool) and _is_number(self.model.model_fields[option].annotation):
                message = f"option {option!r} of {reranker} is a number, got {options[option]!r}"
                raise OptionError(message, option)
        try:
            return self.model.model_validate(dict(options))
        except ValidationError as error:
            first = error.errors()[0]
            option = str(first["loc"][0])
            if first["type"] == "missing" and len(first["loc"]) == 1:
                raise OptionError(f"{reranker} needs the option {option!r}", option) from error
            where = ".".join(map(str, first["loc"]))
            reason = first["msg"].removeprefix("Value error, ")
            seen = "" if first["type"] == "value_error" else f", got {first['input']!r}"
            raise OptionError(f"option {where!r} of {reranker}: {reason}{seen}", option) from error

    def arguments(self, options: Mapping[str, object]) -> dict[str, object]:
        """Put options together as the constructor takes them: those of a group in one value."""
        given = dict(options)
        for parameter, group in self.groups.items():
            inside = {name: given.pop(name) for name in group.model_fields if name in given}
            given[parameter] = group.model_validate(inside)
        return given


@cache
def options_of(constructor: type[Reranker]) -> Options:
    """Return the options that a reranker's constructor accepts; an inherited constructor counts."""
    function = inspect.getattr_static(constructor, "__init__")
    function = getattr(function, "raw_function", function)  # below `pydantic.validate_call`
    hints = _hints(function)
    groups: dict[str, type[OptionGroup]] = {}
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        hint = hints.get(name, Any)
        if parameter.kind not in _KINDS or (name == "qrels" and constructor.needs_qrels):
            continue
        if inspect.isclass(hint) and issubclass(hint, OptionGroup):
            groups[name] = hint
            fields |= {option: (_annotated(field), field) for option, field in hint.model_fields.items()}
        else:
            is_needed = parameter.default is inspect.Parameter.empty
            fields[name] = (hint, ... if is_needed else parameter.default)
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*shadows an attribute")  # an option may be called `copy`
        model = create_model(f"{constructor.__name__}Options", __config__=config, **fields)
    return Options(model, groups)


def _annotated(field: Any) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _hints(function: Any) -> dict[str, Any]:
    """Return a function's annotations, evaluated; those that only a type checker knows count as Any."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):  # a reranker of one's own need not have annotations that can be evaluated
        return {}


def _takes_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _takes_list(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return any(_takes_list(member) for member in get_args(annotation))
    kind = origin or annotation
    return inspect.isclass(kind) and issubclass(kind, Sequence | set | frozenset) and kind is not str


def _is_number(annotation: Any) -> bool:
    """Whether a value may be a number and may not be a boolean, which pydantic would take for 0 or 1."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _is_number(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        members = get_args(annotation)
        return any(map(_is_number, members)) and not {bool, Any, object} & set(members)
    return annotation in (int, float)
