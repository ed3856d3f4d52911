"""Code from a model's repository: not run unless the user allows it for the model and pins its commit.

Loading such a model without permission, or with code that no longer runs under the installed transformers,
fails with one line that says what to do.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rerankers.errors import InputError, ModelError, RerankbenchError, is_failure, reason_of
from rerankers.models.stored import stored_folder, weights_bytes
from rerankers.progress import Activity, is_heard
from rerankers.text.quantities import megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_pinned(model: str, revision: str | None) -> None:
    """Refuse a revision that is not a full commit hash, since a branch or tag may have other code tomorrow.

    Args:
        model: the model's name, for errors.
        revision: the hub revision.

    Raises:
        InputError: the revision is missing or is not a commit.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise InputError(
            f"{model!r} may run its own code only at a pinned commit; set revision to its 40 hex digits"
        )


def _described(kind: str, model: str) -> str:
    """Return a line on the model being loaded, with the size of its weights if they are on this machine.

    The line is empty if progress is not shown.

    Args:
        kind: the kind of model.
        model: its name.
    """
    if not is_heard():
        return ""
    folder = stored_folder(model)
    origin = "from the model hub" if folder is None else megabytes(weights_bytes(folder))
    return f"loading the {kind} {model} ({origin})"


@contextmanager
def loading(kind: str, model: str, trust_remote_code: bool | None = None) -> Iterator[None]:
    """Turn any exception of the `with` block into a `ModelError` of one line.

    Any kind may come out of remote code and of damaged files. Errors of this project pass unchanged.

    Args:
        kind: what is loaded, for errors.
        model: its name.
        trust_remote_code: the option's value; None where a method has no such option.

    Raises:
        ModelError: the model did not load.
    """
    import transformers

    try:
        with Activity(_described(kind, model)):
            yield
    except RerankbenchError:
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        reason = reason_of(error)
        if "trust_remote_code" in str(error) and trust_remote_code is None:
            raise ModelError(
                f"{model!r} brings its own code, which is never run here; use a model that transformers "
                "supports itself"
            ) from error
        if "trust_remote_code" in str(error) and not trust_remote_code:
            raise ModelError(
                f"{model!r} brings its own code; set trust_remote_code: true and revision: <commit>"
            ) from error
        if trust_remote_code:
            raise ModelError(
                f"the code of {model!r} fails under transformers {transformers.__version__}: {reason}; "
                "use a revision or a model that transformers supports itself"
            ) from error
        raise ModelError(f"cannot load the {kind} {model!r}: {reason}") from error
