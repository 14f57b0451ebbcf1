"""A tokenizer that knows modifier tokens: their learned vectors stand among the ids it gives."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from transformers import AddedToken

from ...errors import CNSError

_VOCABULARY = ("encoder", "decoder", "bpe_ranks")  # of CLIPTokenizer: large, and not what added tokens go into


class TokenSplicer:
    """A Hugging Face tokenizer that yields, for each known token in a text, its vectors among the ids.

    What has neither a token nor one of their vectors in it goes to ``base`` untouched. Everything else goes to a copy of
    ``base`` in which each vector has an id: batches, special tokens, padding, truncation come out as with ordinary words.

    ``vectors``: token text -> (vectors, features). Tokens are found in any case, as CLIP reads lower case. The values
    may change while the splicer is in use; how many there are of a token may not, once a text had one.
    """

    def __init__(self, tokenizer: Any, vectors: Mapping[str, Tensor]) -> None:
        self.base = tokenizer
        self.vectors = {token.lower(): rows for token, rows in vectors.items()}
        self._pattern = re.compile("|".join(map(re.escape, self.vectors)), re.IGNORECASE)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call("__call__", *args, **kwargs)

    def __len__(self) -> int:
        return len(self.base)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy and pickle probe for these before the instance is complete
            raise AttributeError(name)
        attribute = getattr(self.base, name)
        return partial(self._call, name) if inspect.ismethod(attribute) else attribute

    def decode(self, ids: Any, *args: Any, **kwargs: Any) -> str:
        """The text of ids and vectors: each token as it is written, the rest as ``base`` decodes it."""
        if not any(map(self._tokens_in, _leaves(ids))):
            return self.base.decode(ids, *args, **kwargs)
        texts, ordinary = [], []
        for item in ids:
            token, index = self._places.get(self._id(item), ("", 0))
            if not token:
                ordinary.append(item)
            elif index == 0:
                texts += [self.base.decode(ordinary, *args, **kwargs), token]
                ordinary = []
        return " ".join(filter(None, [*texts, self.base.decode(ordinary, *args, **kwargs)]))

    def batch_decode(self, sequences: Any, *args: Any, **kwargs: Any) -> list[str]:
        return [self.decode(ids, *args, **kwargs) for ids in sequences]

    @cached_property
    def _words(self) -> dict[str, list[str]]:
        """Token -> what the copy calls its vectors: ``<new1>``, ``<new1>_1``, …"""
        return {token: [token, *(f"{token}_{n}" for n in range(1, len(rows)))] for token, rows in self.vectors.items()}

    @cached_property
    def _copy(self) -> Any:
        shared = {id(part): part for name in _VOCABULARY if (part := getattr(self.base, name, None))}
        copied = copy.deepcopy(self.base, shared)
        copied.add_tokens([AddedToken(word, normalized=False) for words in self._words.values() for word in words])
        return copied

    @cached_property
    def _places(self) -> dict[Any, tuple[str, int]]:
        """Id in the copy -> token and index of the vector."""
        names = [(word, token, index) for token, words in self._words.items() for index, word in enumerate(words)]
        return {self._copy.convert_tokens_to_ids(word): (token, index) for word, token, index in names}

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        tokens = set().union(*map(self._tokens_in, _leaves((args, kwargs))))
        if not tokens:
            return getattr(self.base, method)(*args, **kwargs)
        if not method.startswith("convert_tokens_to"):  # they take the copy's words, not a text
            args, kwargs = _mapped((args, kwargs), self._for_the_copy)
        result = getattr(self._copy, method)(*args, **kwargs)
        if not isinstance(result, MutableMapping):
            return self._spliced(result, tokens)
        if "offset_mapping" in result and any(len(self._words[token]) > 1 for token in tokens):
            raise CNSError(f"Offsets cannot be given for {_listed(tokens)}: several vectors stand for one place in the text.")
        for name in {"input_ids", "overflowing_tokens"} & result.keys():
            result[name] = self._spliced(result[name], tokens)
        return result

    def _tokens_in(self, value: Any) -> set[str]:
        """Those a text has in it; the one a vector belongs to."""
        if isinstance(value, str):
            return {token.lower() for token in self._pattern.findall(value)} & self.vectors.keys()
        place = self._places.get(self._id(value)) if _is_vector(value) else None
        return {place[0]} if place else set()

    def _for_the_copy(self, value: Any) -> Any:
        """A text with a word for each vector, a vector as its id; anything else as it is."""
        if isinstance(value, str):
            return self._pattern.sub(lambda token: "".join(self._words.get(token[0].lower(), [token[0]])), value)
        return self._id(value)

    def _id(self, value: Any) -> Any:
        """A vector's id in the copy; anything else as it is."""
        if _is_vector(value):
            for id_, (token, index) in self._places.items():
                vector = self.vectors[token][index]
                if value.shape == vector.shape and torch.equal(value.to(vector), vector):
                    return id_
        return value

    def _spliced(self, ids: Any, tokens: set[str]) -> Any:
        if isinstance(ids, list):
            return [self._spliced(part, tokens) for part in ids]
        if hasattr(ids, "shape"):
            raise CNSError(
                f"A tensor of ids cannot hold {_listed(tokens)}, which stands for learned vectors: call the tokenizer without "
                "return_tensors, to get lists."
            )
        place = self._places.get(ids) if isinstance(ids, int) else None
        return self.vectors[place[0]][place[1]] if place else ids


def _is_vector(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _listed(tokens: set[str]) -> str:
    return ", ".join(sorted(tokens))


def _leaves(value: Any) -> Iterator[Any]:
    """The values in nested lists, tuples and mappings."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, (list, tuple)):
        yield value
        return
    for part in value:
        yield from _leaves(part)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same nesting, with each value changed."""
    if isinstance(value, Mapping):
        return {key: _mapped(part, change) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(part, change) for part in value)
    return change(value)
