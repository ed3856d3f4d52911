"""An embedding model: texts in, vectors out whose inner products compare a query with passages.

Preprocessing, modules and prompts are those of sentence-transformers. Batching is ours. Texts are sorted by
length and batched under a token budget, so that little is spent on padding.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, validate_call

from rerankers.encoders.folder import chosen_pooling, chosen_similarity, read_folder
from rerankers.encoders.jina_bert import POOLING
from rerankers.encoders.limits import TEXTS_AT_ONCE, limit_lengths
from rerankers.encoders.precision import Precision, half_precision
from rerankers.encoders.recipe import POOLING_NAMES, find_recipe
from rerankers.encoders.tokens import tokenize
from rerankers.encoders.transfer import to_device
from rerankers.methods.embedded import PoolingName, SimilarityName
from rerankers.methods.runtimes import RuntimeOptions
from rerankers.models.batching import length_sorted_batches
from rerankers.models.devices import AttentionName, DtypeName, resolve_device, resolve_dtype
from rerankers.models.folder import check_hub_model
from rerankers.models.layers.first_token import read_first_token_only
from rerankers.models.layers.packed_linear import pack_linear_layers
from rerankers.models.loading_report import refuse_adapter
from rerankers.models.locate import find_model
from rerankers.models.remote_code import loading
from rerankers.models.side_by_side import side_by_side
from rerankers.text.control_tokens import ControlTokenMode, ControlTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rerankers.models.locate import ModelFiles


Kind = Literal["query", "passage"]

_TASKS = {"query": "query", "passage": "document"}
_LIBRARY_BATCH = 256  # texts in a batch of models without a transformer


class Encoder:
    """An embedding model with its tokenizer, modules, prompts and similarity.

    Args:
        model: hub id, folder or wheel; see `rerankers.models.locate`.
        revision: hub revision (branch, tag or commit).
        pooling: `mean` over tokens, the first (`cls`) or the `last_token`; `auto` as the authors say.
        max_length: longest input in tokens, special ones and the prefix included; the authors' limit applies
            if smaller. Models without a transformer (averaged word vectors) cut nothing.
        query_prefix: put before queries; None is the authors' own prompt.
        passage_prefix: put before passages; None is the authors' own prompt.
        similarity: `cosine` gives vectors of length one, `dot` the model's own; `auto` as the authors say,
            and cosine where they do not.
        dtype: the transformer's dtype; `auto` is bfloat16 on CUDA, float32 on a CPU.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        attention: transformers' attention implementation; `auto` lets transformers choose.
        control_tokens: how control tokens in texts are read; see `rerankers.text.control_tokens`.
        batch_tokens: most tokens in one forward pass, padding included; None is 16384 on CUDA and 1024 on a
            CPU, where larger batches fill no idle units and only bring padding and cache misses.
        weights: these weights in place of the transformer's own, by the names the model gives them.
        runtime: what runs the transformer; None is torch. ONNX Runtime and OpenVINO run on the CPU.

    Attributes:
        dimension: length of a vector.
        device: where weights and vectors are.
        pooling: the pooling in use, `+` between several; `none` where no token is pooled.
        similarity: `cosine` or `dot`.
        max_length: longest input in tokens; None where nothing is cut.
        precision: the precision of vectors, with their difference to torch's in float32; None where they are
            torch's in float32, or were not compared.

    Raises:
        InputError: no such folder or device.
        MissingExtraError: the runtime's packages are not installed.
        ModelError: the files do not load, weights are missing or surplus, nothing says how to pool, or a
            runtime's file belongs to other weights.
    """

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        pooling: PoolingName = "auto",
        max_length: int = 512,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        similarity: SimilarityName = "auto",
        dtype: DtypeName = "auto",
        device: str = "auto",
        attention: AttentionName = "auto",
        control_tokens: ControlTokenMode = "text",
        batch_tokens: int | None = None,
        weights: dict[str, torch.Tensor] | None = None,
        runtime: RuntimeOptions | None = None,
    ) -> None:
        from rerankers.encoders import description, network  # sentence-transformers takes seconds to import

        files = find_model(model, revision)
        check_hub_model(files)
        refuse_adapter(files)
        recipe, folder = find_recipe(files.name), read_folder(files)
        self.similarity = chosen_similarity(files, folder, similarity)
        uses_torch = runtime is None or runtime.backend == "torch"
        self.device = resolve_device(device if uses_torch else "cpu")
        pooled_by = chosen_pooling(folder, pooling, POOLING if folder.is_jina_v2 else recipe.pooling)
        options: Mapping[str, Any] = {"device": self.device, "attention": attention, "weights": weights}
        load = partial(network.load_network, files, folder, pooled_by, **options)
        with loading("encoder", model):
            self._model = load(dtype=resolve_dtype(dtype if uses_torch else "float32", self.device))
        prompts = self._model.prompts
        self.query_prefix = _first_stated(query_prefix, recipe.query_prefix, prompts.get("query"))
        self.passage_prefix = _first_stated(passage_prefix, recipe.passage_prefix, prompts.get("document"))
        self._transformers = network.transformers_of(self._model)
        self.max_length: int | None = None
        self.shorten(folder.max_length or max_length, str(folder.max_length_file or files.name))
        self.shorten(recipe.max_length or max_length, files.name)
        self.shorten(max_length, files.name)
        self.dimension = self._dimension()
        self.pooling = description.pooling_name(self._model)
        self._tokenizers = network.tokenizers_of(self._model, files.name)
        self.control_tokens = control_tokens
        self._controls = {
            task: ControlTokens(tokenizer, control_tokens)
            for task, tokenizer in network.control_tokenizers_of(self._model).items()
        }
        self._batch_tokens = batch_tokens or (16384 if self.device.type == "cuda" else 1024)
        self._unused_prompts = _unused_prompts(prompts, self._model.default_prompt_name)
        self._described = {"model": files.name, **description.describe_network(self._model, files, weights)}
        self.precision: Precision | None = None
        if uses_torch or runtime is None:
            self._prepare_torch(lambda: network.transformers_of(load(dtype=torch.float32))[0])
        else:
            self._install(runtime, files, has_own_weights=weights is None)

    def _prepare_torch(self, load_float32: Callable[[], Any]) -> None:
        """Leave out what no vector reads, record half precision on a CPU, and pack linear layers for it.

        Args:
            load_float32: loads the only transformer once more in float32.
        """
        read_first_token_only(self._model)
        if len(self._transformers) == 1:
            self.precision = half_precision(self._transformers[0], self.encode, load_float32)
        for transformer in self._transformers:
            pack_linear_layers(transformer.model)

    def _install(self, runtime: RuntimeOptions, files: ModelFiles, has_own_weights: bool) -> None:
        """Let another runtime than torch run the transformers of a model, and record which.

        Args:
            runtime: the runtime.
            files: the location of the model.
            has_own_weights: whether the weights are those of the files.
        """
        from rerankers.encoders.runtimes.network import install

        installed = install(self._transformers, files, runtime, self.encode, has_own_weights=has_own_weights)
        self.precision = installed.precision
        self._described |= installed.described

    @property
    def notice(self) -> str:
        """The notes on prompts and precision that a table has to show; empty if there are none."""
        notes = (self._prompt_notice, self.precision.notice if self.precision else "")
        return "; ".join(note for note in notes if note)

    @property
    def _prompt_notice(self) -> str:
        """The note on prompts of the model that are not used; empty if all are, or if a prefix is set."""
        if not self._unused_prompts or self.query_prefix or self.passage_prefix:
            return ""
        names = ", ".join(map(repr, self._unused_prompts))
        return (
            f"the encoder's prompts {names} are not used: sentence-transformers puts 'query' before queries "
            "and 'document' before passages; set query_prefix or passage_prefix"
        )

    @property
    def pooling_option(self) -> Literal["auto", "mean", "cls", "last_token"]:
        """The value of the option `pooling` that gives this pooling again; `auto` if no other value does."""
        named = self.pooling if self.pooling in POOLING_NAMES else "auto"
        return cast("Literal['auto', 'mean', 'cls', 'last_token']", named)

    def shorten(self, max_length: int, source: str = "max_length") -> None:
        """Lower the longest input to `max_length` tokens, if it is longer; later texts are cut there.

        Args:
            max_length: in tokens, special ones and the prefix included.
            source: the name of the option or file that sets it, for errors.

        Raises:
            ModelError: special tokens and a prefix alone fill the input.
        """
        prefixes = {"query": self.query_prefix, "document": self.passage_prefix}
        self.max_length = limit_lengths(source, self._transformers, max_length, prefixes)

    def encode(self, texts: Sequence[str], *, kind: Kind = "passage") -> torch.Tensor:
        """Return the embeddings of texts, (len(texts), dimension) float32 on `device`.

        Equal texts get equal rows to the last bit. No texts give no rows. A text without tokens gets zeros.

        Args:
            texts: the texts.
            kind: whether they are queries or passages, which chooses the prefix.
        """
        return self.encode_and_cut(texts, kind=kind)[0]

    def encode_and_cut(
        self, texts: Sequence[str], *, kind: Kind = "passage"
    ) -> tuple[torch.Tensor, list[int]]:
        """Return the embeddings of texts as `encode` does, and the positions of texts that were cut at
        `max_length`.
        """
        row_of: dict[str, int] = {}
        for text in texts:
            row_of.setdefault(text, len(row_of))
        different = list(row_of)
        vectors = torch.zeros(len(different), self.dimension, device=self.device)
        cut = [False] * len(different)
        for start in range(0, len(different), TEXTS_AT_ONCE):
            chunk = slice(start, start + TEXTS_AT_ONCE)
            if _TASKS[kind] in self._tokenizers:
                cut[chunk] = self._embed(different[chunk], kind, vectors[chunk])
            else:
                vectors[chunk] = self._embed_by_library(different[chunk], kind)
        cut_rows = [row for row, text in enumerate(texts) if cut[row_of[text]]]
        if len(different) < len(texts):
            vectors = vectors[to_device(torch.tensor([row_of[text] for text in texts]), self.device)]
        return vectors, cut_rows

    def count_cut(self, texts: Sequence[str], *, kind: Kind = "passage") -> int:
        """Return the number of texts that `encode` would cut at `max_length`; nothing is embedded."""
        task = _TASKS[kind]
        if task not in self._tokenizers:
            return 0
        cut = 0
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            chunk, _ = self._as_read(texts[start : start + TEXTS_AT_ONCE], kind)
            cut += sum(tokenize(self._model, self._tokenizers[task], chunk, self._prefix(kind), task).cut)
        return cut

    def count_control_tokens(self, texts: Sequence[str], *, kind: Kind = "passage") -> list[int]:
        """Return the number of control tokens in each text."""
        return self._as_read(texts, kind)[1]

    def _as_read(self, texts: Sequence[str], kind: Kind) -> tuple[list[str], list[int]]:
        """Return texts with control tokens treated as the options say, and the number of them in
        each text.
        """
        control = self._controls.get(_TASKS[kind])
        return control.read(texts) if control else (list(texts), [0] * len(texts))

    def _embed(self, texts: list[str], kind: Kind, vectors: torch.Tensor) -> list[bool]:
        """Compute the embeddings of texts, and return whether each text was cut.

        Args:
            texts: at most `TEXTS_AT_ONCE`, all different.
            kind: whether they are queries or passages.
            vectors: filled in place, (len(texts), dimension).
        """
        task = _TASKS[kind]
        texts, _ = self._as_read(texts, kind)
        tokens = tokenize(self._model, self._tokenizers[task], texts, self._prefix(kind), task)
        read = [row for row, length in enumerate(tokens.lengths) if length]

        def forward(positions: list[int]) -> None:
            """Embed the texts at some positions of `read`, and put the vectors in their rows."""
            rows = [read[position] for position in positions]
            output = self._model(tokens.batch(rows, self.device), task=task)["sentence_embedding"]
            vectors[to_device(torch.tensor(rows), self.device)] = self._finished(output)

        lengths = [tokens.lengths[row] for row in read]
        side_by_side(forward, length_sorted_batches(lengths, self._batch_tokens, self.device), self.device)
        return tokens.cut

    def _embed_by_library(self, texts: list[str], kind: Kind) -> torch.Tensor:
        """Return the embeddings of texts, (len(texts), dimension), by a model without a transformer.

        sentence-transformers makes the batches.
        """
        texts, _ = self._as_read(texts, kind)
        encode = self._model.encode_query if kind == "query" else self._model.encode_document
        vectors = encode(
            texts,
            prompt=self._prefix(kind),
            batch_size=_LIBRARY_BATCH,
            show_progress_bar=False,
            convert_to_tensor=True,
        )
        return self._finished(vectors)

    def _finished(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return vectors, (texts, size), cut to `dimension` in float32, and of length one if compared
        by cosine.
        """
        vectors = vectors.float()[:, : self.dimension]
        return F.normalize(vectors, dim=-1) if self.similarity == "cosine" else vectors

    def _prefix(self, kind: Kind) -> str:
        """Return the text that is put before queries or before passages."""
        return self.query_prefix if kind == "query" else self.passage_prefix

    def _dimension(self) -> int:
        """Return the dimension that the last module states, or that of a trial vector if it states none."""
        stated = self._model.get_embedding_dimension()
        if stated is None:
            stated = self._model.encode_document(["a"], show_progress_bar=False).shape[1]
        return int(stated)

    def describe(self) -> dict[str, object]:
        """Return the record's entry: model and version, modules, prefixes, length, similarity, dtype and
        attention.

        Everything that changes a passage's vector is in it: embedding stores are named by its digest.
        """
        return {
            **self._described,
            "dimension": self.dimension,
            "pooling": self.pooling,
            "query_prefix": self.query_prefix,
            "passage_prefix": self.passage_prefix,
            "max_length": self.max_length,
            "similarity": self.similarity,
            "control_tokens": self.control_tokens,
        }


def _first_stated(*prefixes: str | None) -> str:
    """Return the first prefix that is not None; an empty text if all are."""
    return next((prefix for prefix in prefixes if prefix is not None), "")


def _unused_prompts(prompts: Mapping[str, str | None], default: str | None) -> list[str]:
    """Return the names of a model's prompts that neither queries nor passages get.

    Args:
        prompts: the model's prompts by name.
        default: name of the prompt that the model uses where none is named.
    """
    names = ("passage", "corpus", default)
    return [name for name in names if name not in (None, "query", "document") and prompts.get(name or "")]
