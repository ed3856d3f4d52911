"""The registry of rerankers: for each name the options model, which names the class; imported on first use.

To add a method, write its options model in `rerankers/methods/` and the reranker that the model names, and
add a row here. The contract suite then tests it, the command line lists it, and experiments can name it.

A reranker of your own needs no row: name it `package.module:Class`, in a package that is installed or a file
in the working folder. Its class variable `options_model` names its options.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rerankers.errors import InputError, MissingExtraError, OptionError, UnknownNameError
from rerankers.progress import Activity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerankers.interface import Reranker
    from rerankers.options import MethodOptions, Role


METHODS: dict[str, str] = {
    "first-stage": "rerankers.methods.baselines:FirstStageOptions",
    "reverse": "rerankers.methods.baselines:ReverseOptions",
    "random": "rerankers.methods.baselines:RandomOptions",
    "oracle": "rerankers.methods.baselines:OracleOptions",
    "embedding": "rerankers.methods.pointwise.embedding:EmbeddingRerankerOptions",
    "cross-encoder": "rerankers.methods.pointwise.cross_encoder:CrossEncoderOptions",
    "query-likelihood": "rerankers.methods.pointwise.query_likelihood:QueryLikelihoodOptions",
    "causal-yes-no": "rerankers.methods.pointwise.causal_yes_no:CausalYesNoOptions",
    "bge-layerwise": "rerankers.methods.pointwise.bge_layerwise:BGELayerwiseOptions",
    "rank1": "rerankers.methods.pointwise.rank1:Rank1Options",
    "mono-t5": "rerankers.methods.pointwise.mono_t5:MonoT5Options",
    "late-interaction": "rerankers.methods.pointwise.late_interaction:LateInteractionOptions",
    "rerank-api": "rerankers.methods.endpoints.rerank_api:RerankAPIOptions",
    "fusion": "rerankers.methods.composite.fusion:FusionOptions",
    "cascade": "rerankers.methods.composite.cascade:CascadeOptions",
    "rankgpt": "rerankers.methods.listwise.rankgpt:RankGPTOptions",
    "first": "rerankers.methods.listwise.first:FirstOptions",
    "lit5": "rerankers.methods.listwise.lit5:LiT5Options",
    "listt5": "rerankers.methods.listwise.listt5:ListT5Options",
    "set-encoder": "rerankers.methods.listwise.set_encoder:SetEncoderOptions",
    "icr": "rerankers.methods.listwise.icr:ICROptions",
    "pairwise": "rerankers.methods.comparisons.pairwise:PairwiseOptions",
    "setwise": "rerankers.methods.comparisons.setwise:SetwiseOptions",
    "e2rank": "rerankers.methods.listwise.e2rank:E2RankOptions",
    "jina-v3": "rerankers.methods.listwise.jina_v3:JinaV3Options",
    "pe-rank": "rerankers.methods.pe_rank:PERankOptions",
}
"""The options model of each method, which names the method's class."""

_OWN = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")


def options_model(name: str) -> type[MethodOptions]:
    """Return the options model of a registered method, or of a user's class named `module:Class`.

    A user's class without one has that of the registered method it inherits its constructor from, or
    `MethodOptions`.

    Raises:
        UnknownNameError: the name is neither registered nor of the form `module:Class`.
        InputError: it names a class of the user's that cannot be imported, or that is not a reranker.
    """
    if name in METHODS:
        module, _, attribute = METHODS[name].partition(":")
        return cast("type[MethodOptions]", getattr(importlib.import_module(module), attribute))
    from rerankers.options import MethodOptions

    reranker = _load_own(name)
    return reranker.options_model or _registered_model(reranker) or MethodOptions


def _registered_model(reranker: type[Reranker]) -> type[MethodOptions] | None:
    """Return the options model of the registered method whose constructor a class inherits, or None."""
    constructor: Any = vars(next(base for base in reranker.__mro__ if "__init__" in vars(base)))["__init__"]
    inherited = (base for base in reranker.__mro__ if getattr(base, "__init__", None) is constructor)
    bases = {f"{base.__module__}:{base.__qualname__}" for base in inherited}
    models = map(options_model, METHODS)
    return next((model for model in models if model.implementation in bases), None)


def load(name: str) -> type[Reranker]:
    """Return the reranker class of a name, imported.

    Args:
        name: a registered name, or `module:Class`.

    Raises:
        UnknownNameError: the name is neither registered nor of the form `module:Class`.
        MissingExtraError: it needs packages that are not installed.
        InputError: it names a class of the user's that cannot be imported, or that is not a reranker.
    """
    if name not in METHODS:
        return _load_own(name)
    model = options_model(name)
    module, _, attribute = model.implementation.partition(":")
    try:
        return cast("type[Reranker]", getattr(importlib.import_module(module), attribute))
    except ModuleNotFoundError as error:
        if model.extra is None:
            raise
        raise MissingExtraError(f"reranker {name!r}", model.extra) from error


def is_own_name(name: str) -> bool:
    """Return whether a name has the form `module:name`, which users name their own objects by."""
    return _OWN.fullmatch(name) is not None


def own_object(name: str, kind: str) -> Any:
    """Return the class or function that `module:name` names, imported; None if the module lacks it.

    Args:
        name: `module:name`, in the working folder or an installed package.
        kind: the kind of object that is expected, for errors.

    Raises:
        InputError: the name is not of this form, there is no such module, or it needs a package that is not
            installed.
    """
    if not is_own_name(name):
        raise InputError(f"{kind} {name!r}: not a name of the form module:name. Correct it")
    _look_in_the_working_folder()
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise InputError(f"{module} needs the package {error.name!r}; install it") from error
        raise _no_module(module) from error


def _look_in_the_working_folder() -> None:
    """Append the working folder to the import path, if it is not there."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that no file here replaces a package


def _load_own(name: str) -> type[Reranker]:
    """Return the user's reranker class that `module:Class` names.

    Raises:
        UnknownNameError: the name is not of this form.
        InputError: there is no such module or class, or it is not a reranker.
    """
    from rerankers.interface import Reranker

    if not is_own_name(name):
        raise UnknownNameError("reranker", name, METHODS)
    module, _, attribute = name.partition(":")
    reranker = own_object(name, "reranker")
    if not (inspect.isclass(reranker) and issubclass(reranker, Reranker)):
        raise InputError(
            f"{module} has no class {attribute!r} that is a rerankers.Reranker; correct the name"
        )
    return reranker


def source_of(name: str) -> Path:
    """Return the path of the file that defines a user's own object.

    Args:
        name: `module:name`.

    Raises:
        InputError: there is no such file.
    """
    module = name.partition(":")[0]
    _look_in_the_working_folder()
    try:
        specification = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a package above it is not there
        specification = None
    if specification is None or specification.origin is None:
        raise _no_module(module)
    return Path(specification.origin)


def _no_module(module: str) -> InputError:
    """Return the error for a user's module that does not exist."""
    return InputError(
        f"no module {module!r}; start rerankbench in the folder of {module.partition('.')[0]}.py, "
        "or install its package"
    )


def role_of(name: str) -> Role:
    """Return a reranker's role in a comparison; `system` if it is not registered."""
    return options_model(name).role if name in METHODS else "system"


def implementation_of(name: str) -> str:
    """Return `module:Class` of a registered method; the name of a user's own class unchanged."""
    return options_model(name).implementation if name in METHODS else name


def validated(name: str, options: Mapping[str, object]) -> MethodOptions:
    """Return a reranker's options as an instance of their model, defaults included; no reranker is made.

    Args:
        name: the reranker's registered name, or `module:Class`.
        options: values by option name, without `qrels`.

    Raises:
        UnknownNameError: the reranker or an option is unknown.
        InputError: an option is missing, is not allowed, or contradicts another.
    """
    from rerankers.options import QRELS, validate

    model = options_model(name)
    if model.needs_qrels and QRELS in options:
        raise UnknownNameError(f"option of {name}", QRELS, model.option_names())
    return validate(model, name, options)


def embeds_passages(name: str, options: MethodOptions) -> bool | None:
    """Return whether a reranker's `prepare` only fills embedding stores; None where this is unknown.

    A class that does not override `prepare` fills none.
    """
    from rerankers.interface import Reranker

    stated = options.embeds_passages
    return False if stated is None and load(name).prepare is Reranker.prepare else stated


def create(name: str, options: Mapping[str, object] | None = None, /, **named: object) -> Reranker:
    """Return a new reranker of this name with these options.

    Args:
        name: as `rerankbench list rerankers` gives it, or `module:Class`.
        options: the options as an experiment file gives them. A reranker that looks at the judgements takes
            them as the option `qrels`.
        named: the same, as keywords: `create("cross-encoder", model="./my-model")`.

    Raises:
        InputError: an option is unknown or does not validate; the message names it.
    """
    from rerankers.options import QRELS, MethodOptions, validate

    model = options_model(name)
    values = {**(options or {}), **named}
    if model.needs_qrels and values.get(QRELS) is None:
        raise OptionError(f"{name} needs the option {QRELS!r}", QRELS)
    made = validate(model, name, values)
    with Activity(f"loading {name} and its libraries"):
        implementation: Any = load(name)
        if model is MethodOptions:  # of one's own, without options
            return cast("Reranker", implementation())
        return cast("Reranker", implementation(made))
