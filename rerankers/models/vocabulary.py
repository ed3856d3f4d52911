"""Tokenizers, loaded and checked: one that does not know the words of plain sentences is refused.

Where a model's folder lacks the tokenizer's files, transformers silently makes an empty vocabulary.
Every text is then a row of unknown tokens, or of no tokens, and its score means nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerankers.errors import ModelError

if TYPE_CHECKING:
    from rerankers.models.model_files import ModelFiles

# One plain sentence in each of some scripts: a tokenizer of any language knows a piece of one of them.
_SENTENCES = (
    "Honey bees live in a hive and keep their queen warm in winter.",
    "蜜蜂住在蜂箱里，冬天给蜂王保暖。",
    "ミツバチは巣箱に住み、冬は女王を温める。",
    "꿀벌은 벌통에 살며 겨울에 여왕을 따뜻하게 한다.",
    "Пчёлы живут в улье и зимой греют матку.",
    "يعيش النحل في الخلية ويدفئ الملكة في الشتاء.",
    "मधुमक्खियाँ छत्ते में रहती हैं और सर्दी में रानी को गर्म रखती हैं।",
)


def load_tokenizer(files: ModelFiles, config: Any = None) -> Any:
    """Return a model's tokenizer, checked by `check_vocabulary`.

    Args:
        files: the location of the model.
        config: transformers' configuration of the model, where `config.json` itself names no known one.

    Raises:
        ModelError: the tokenizer has no vocabulary, or knows no piece of a plain sentence.
    """
    from transformers import AutoTokenizer

    how: dict[str, Any] = {} if config is None else {"config": config}
    if files.gguf_file:
        how["gguf_file"] = files.gguf_file
    tokenizer = AutoTokenizer.from_pretrained(
        files.location, revision=files.revision or "main", trust_remote_code=False, **how
    )
    check_vocabulary(files.name, tokenizer)
    return tokenizer


def check_vocabulary(name: str, tokenizer: Any) -> None:
    """Refuse a tokenizer that reads plain sentences of every script as unknown tokens only.

    Args:
        name: the model's name, for the error.
        tokenizer: a tokenizer of transformers.

    Raises:
        ModelError: it has no vocabulary, or knows no piece of a plain sentence.
    """
    if any(_knows_a_piece(tokenizer, sentence) for sentence in _SENTENCES):
        return
    pieces = tokenizer.tokenize(_SENTENCES[0])
    reading = f"reads {_SENTENCES[0]!r} as {pieces[:4]}" if pieces else f"finds no token in {_SENTENCES[0]!r}"
    raise ModelError(
        f"{name!r}: its tokenizer has {len(tokenizer)} entries and {reading}. Put the tokenizer's files "
        "(tokenizer.json, vocab.txt or the like) beside config.json."
    )


def check_rows(name: str, tokenizer: Any, network: Any) -> None:
    """Refuse a tokenizer whose tokens lie beyond the rows of the model's embedding table.

    Tokens that plain sentences do not use, such as padding that was added later, may lie there.

    Args:
        name: the model's name, for the error.
        tokenizer: a tokenizer of transformers.
        network: the transformers model that reads its tokens.

    Raises:
        ModelError: the tokenizer belongs to another model.
    """
    if not hasattr(network, "get_input_embeddings"):
        return  # not a model of transformers
    rows = getattr(network.get_input_embeddings(), "num_embeddings", None)
    used = {i for sentence in _SENTENCES for i in tokenizer(sentence, sentence)["input_ids"]}
    beyond = sorted(i for i in used | {tokenizer.unk_token_id or 0} if rows is not None and i >= rows)
    if beyond:
        token = tokenizer.convert_ids_to_tokens(beyond[0])
        raise ModelError(
            f"{name!r}: its tokenizer gives {token!r} the id {beyond[0]}, but the model has {rows} embeddings"
            ". Put the model's own tokenizer beside config.json."
        )


def _knows_a_piece(tokenizer: Any, sentence: str) -> bool:
    """Return whether some token of a sentence has a letter or digit and is neither unknown nor special."""
    unknown = {tokenizer.unk_token_id, *tokenizer.all_special_ids}
    ids = [i for i in tokenizer(sentence, add_special_tokens=False)["input_ids"] if i not in unknown]
    return any(any(map(str.isalnum, token)) for token in tokenizer.convert_ids_to_tokens(ids))
