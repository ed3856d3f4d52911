"""Options of methods whose model sentence-transformers loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.methods.loaded import BatchOptions
from rerankers.models.locate import find_model
from rerankers.models.remote_code import check_pinned

if TYPE_CHECKING:
    from rerankers.models.locate import ModelFiles


class SentenceModelOptions(BatchOptions):
    """Options of a sentence-transformers model: its weights and its remote code."""

    trust_remote_code: bool = False
    """Run the code that the model's hub repository brings; `revision` must then be a full commit hash."""

    def files(self) -> ModelFiles:
        """Return where the model is.

        Raises:
            InputError: no such folder, or code that is trusted without a pinned commit.
        """
        if self.trust_remote_code:
            check_pinned(self.model, self.revision)
        return find_model(self.model, self.revision)
