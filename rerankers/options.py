"""The base classes of options models, and the validation of options before a model is loaded.

Every method has one options model, a subclass of `MethodOptions`, in a module that imports neither torch nor
the method itself (`rerankers.methods`). Experiment files, the command line, pages, the JSON Schema and the
dry run all read these models, and the method is constructed from an instance of one.
"""

from __future__ import annotations

import json
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    Protocol,
    Self,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from rerankers.errors import OptionError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rerankers.work import RequestSize, Work

Role = Literal["system", "control", "first stage"]
"""What a reranker is in a comparison; the result of a control is known beforehand."""

QRELS = "qrels"
"""The option that the harness fills in, never a user: grade by doc id by query id."""


@dataclass(frozen=True)
class Affects:
    """A mark on an option: the most that another value of the option changes.

    It is written `Annotated[TYPE, Affects(...)]`. An option without the mark may change rankings.

    Attributes:
        what: `nothing`, so that a run may be resumed with another value; or `speed`, which is latency and
            price, but no output of a model.
    """

    what: Literal["nothing", "speed"]


class Options(BaseModel):
    """The validated options of a reranker or another component of an experiment; immutable.

    A subclass declares an option as a field with a type, a default, bounds, and a docstring that says what it
    means.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=()
    )

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        """Return the options once `check` has accepted them."""
        self.check()
        return self

    def check(self) -> None:
        """Refuse options that contradict each other, although each is valid by itself. Nothing is loaded.

        Raises:
            InputError: two options contradict each other.
        """

    @classmethod
    def option_names(cls) -> list[str]:
        """Return the names of the options that users give, in the order of their declaration."""
        return list(cls.model_fields)

    def decisive(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options as the user gave them, without those that affect nothing."""
        neutral = options_affecting(type(self), "nothing")
        return {name: value for name, value in options.items() if name not in neutral}


def options_affecting(model: type[BaseModel], *what: Literal["nothing", "speed"]) -> set[str]:
    """Return the names of a model's options that are marked to affect one of these."""
    marks = [Affects(each) for each in what]
    return {
        name for name, field in model.model_fields.items() if any(mark in field.metadata for mark in marks)
    }


class InsideReranker(Protocol):
    """A reranker that is a component of a fusion or a cascade: its name and its options."""

    @property
    def name(self) -> str:
        """The registered name, or `module:Class`."""

    @property
    def options(self) -> dict[str, Any]:
        """The options as the user gave them, by name."""

    @property
    def validated(self) -> MethodOptions:
        """The options as an instance of the reranker's options model, defaults included."""


class MethodOptions(Options):
    """The options of one reranker.

    Options that several methods share are base classes. By default a field `model`, with `revision`, names a
    model that is loaded in this process.
    """

    summary: ClassVar[str] = "your own"
    """One line that says what the method is, and names its paper."""

    implementation: ClassVar[str] = ""
    """`module:Class` of the reranker that is constructed from these options; empty for one's own."""

    extra: ClassVar[str | None] = None
    """The optional dependencies that the implementation's imports need, as `pip install rerankbench[...]`."""

    role: ClassVar[Role] = "system"
    """The method's role in a comparison."""

    needs_qrels: ClassVar[bool] = False
    """True if the method looks at the judgements; it then has the field `qrels`, which the harness fills."""

    @property
    def models(self) -> tuple[tuple[str, str | None], ...]:
        """The name and revision (None for the newest) of each model that is loaded in this process."""
        model = getattr(self, "model", None)
        return ((model, getattr(self, "revision", None)),) if isinstance(model, str) else ()

    @property
    def is_remote(self) -> bool:
        """True if the method calls an endpoint."""
        return False

    @property
    def is_priced(self) -> bool:
        """True if the price of the method's calls is known, so that a budget can be kept."""
        return True

    @property
    def is_replayed(self) -> bool:
        """True if responses from a response cache may replace calls."""
        return False

    @property
    def missing_key(self) -> str | None:
        """The name of the environment variable that lacks the key for the calls; None if none is missing."""
        return None

    @property
    def may_use_gpu(self) -> bool:
        """True if the method computes in this process on a device that may be a GPU."""
        return getattr(self, "device", "auto") != "cpu"

    @property
    def embeds_passages(self) -> bool | None:
        """True if `prepare` fills embedding stores and does nothing else, so that passages can be divided up.

        None where this is unknown: `registry.embeds_passages` then looks at the class.
        """
        return False if self.implementation else None

    @property
    def draws(self) -> bool:
        """True if the option `seed` changes rankings; if not, the same options give the same ranking."""
        if "seed" not in type(self).model_fields:
            return False
        order, policy = getattr(self, "initial_order", None), getattr(self, "window_policy", None)
        if order is None and policy is None:
            return True
        return order == "shuffled" or policy == "tournament" or getattr(self, "temperature", 0.0) != 0.0

    @property
    def reads_instruction(self) -> bool:
        """True if the instruction of a request changes its ranking."""
        return False

    @property
    def components(self) -> Sequence[InsideReranker]:
        """The rerankers that a fusion or a cascade is made of, with their options; none for other methods."""
        return ()

    def work(self, size: RequestSize) -> Work | None:
        """Return an estimate of the windows, calls and tokens of one request; None if there is none."""
        return None

    def dollars(self, size: RequestSize) -> float | None:
        """Return the estimated price of one request in dollars; None without a charge or a known price."""
        return None

    @classmethod
    def option_names(cls) -> list[str]:
        """Return the names of the options that users give, in the order of their declaration.

        `qrels`, which the harness fills, is left out.
        """
        return [name for name in cls.model_fields if not (cls.needs_qrels and name == QRELS)]

    @classmethod
    def is_needed(cls, option: str) -> bool:
        """Return whether an option has no default, so that users must give it."""
        return cls.model_fields[option].is_required()

    @classmethod
    def default_of(cls, option: str) -> Any:
        """Return an option's default in JSON values; None for an option without one."""
        field = cls.model_fields.get(option)
        if field is None or field.is_required():
            return None
        return json.loads(json.dumps(field.get_default(call_default_factory=True), default=str))

    @classmethod
    def defaults_beside(cls, options: Collection[str]) -> dict[str, Any]:
        """Return the defaults, in JSON values, of all options but the given ones, by name.

        Args:
            options: names of options that have a value.
        """
        names = (name for name, field in cls.model_fields.items() if not field.is_required())
        return {name: cls.default_of(name) for name in names if name not in options}

    @classmethod
    def takes_list(cls, option: str) -> bool:
        """Return whether an option's value is a list, which is then not read as a sweep over values."""
        return _takes_list(cls.model_fields[option].annotation)


OptionsT = TypeVar("OptionsT", bound=Options)


def validate(model: type[OptionsT], owner: str, options: Mapping[str, object]) -> OptionsT:
    """Return options as an instance of their model.

    Args:
        model: the options model.
        owner: the name of the reranker or component, for errors.
        options: values by option name.

    Raises:
        UnknownNameError: an option is unknown.
        InputError: an option is missing, its value is not allowed, or two options contradict each other.
    """
    for option in options:
        if option not in model.model_fields:
            raise UnknownNameError(f"option of {owner}", option, model.option_names())
        if isinstance(options[option], bool) and _is_number(model.model_fields[option].annotation):
            message = f"option {option!r} of {owner} is a number, got {options[option]!r}"
            raise OptionError(message, option)
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "missing" and len(first["loc"]) == 1:
            raise OptionError(f"{owner} needs the option {option!r}", option) from error
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        seen = "" if first["type"] == "value_error" else f", got {first['input']!r}"
        raise OptionError(f"option {where!r} of {owner}: {reason}{seen}", option) from error


def _takes_list(annotation: Any) -> bool:
    """Return whether a type annotation allows a list, a set or another sequence that is not a string."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _takes_list(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return any(_takes_list(member) for member in get_args(annotation))
    kind = origin or annotation
    return isinstance(kind, type) and issubclass(kind, Sequence | set | frozenset) and kind is not str


def _is_number(annotation: Any) -> bool:
    """Return whether a type annotation allows a number but not a boolean.

    pydantic would take a boolean for 0 or 1.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return _is_number(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        members = get_args(annotation)
        return any(map(_is_number, members)) and not {bool, Any, object} & set(members)
    return annotation in (int, float)
