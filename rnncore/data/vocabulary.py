"""Characters as tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import InputError

__all__ = ["Vocabulary"]


@dataclass(frozen=True)
class Vocabulary:
    """The characters of a text as tokens 0, 1, ..., with one more for its end if there is to be one.

    Parameters
    ----------
    symbols : str
        Each character once; its place is its token.
    ends : bool
        Whether the token after the last character, `end`, closes every text.

    Raises
    ------
    InputError
        A character occurs twice, or there is none.

    Examples
    --------
    >>> from rnncore.data import Vocabulary
    >>> vocabulary = Vocabulary.of(["abba", "cab"], ends=True)
    >>> vocabulary, vocabulary.size, vocabulary.end
    (Vocabulary('abc', ends=True), 4, 3)
    >>> vocabulary.encode("cab")
    array([2, 0, 1, 3])
    >>> vocabulary.decode([2, 0, 1, 3, 0])
    'cab'
    """

    symbols: str
    ends: bool = False

    def __post_init__(self):
        if not isinstance(self.symbols, str) or not self.symbols:
            raise InputError(f"symbols: expected the characters of a vocabulary as one string, got {self.symbols!r}")
        if len(set(self.symbols)) < len(self.symbols):
            twice = next(c for c in self.symbols if self.symbols.count(c) > 1)
            raise InputError(f"symbols: {twice!r} occurs more than once in {self.symbols!r}")

    @classmethod
    def of(cls, texts: str | Iterable[str], ends: bool = False) -> Vocabulary:
        """The characters of a text, or of several, in order of their code points."""
        return cls("".join(sorted(set().union(*([texts] if isinstance(texts, str) else texts)))), ends)

    def __repr__(self) -> str:
        return f"Vocabulary({self.symbols!r}{', ends=True' if self.ends else ''})"

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(self.symbols) + self.ends

    @property
    def end(self) -> int | None:
        """The token that closes a text, if there is one."""
        return len(self.symbols) if self.ends else None

    @cached_property
    def _places(self) -> dict[str, int]:
        return {c: k for k, c in enumerate(self.symbols)}

    def encode(self, text: str) -> np.ndarray:
        """Tokens of a text, int64 (characters,), and one more for its end if there is one.

        Raises
        ------
        InputError
            A character is none of the vocabulary's.
        """
        tokens = [self._places.get(c, -1) for c in text]
        if -1 in tokens:
            at = tokens.index(-1)
            raise InputError(f"{text!r}: character {at}, {text[at]!r}, is none of the vocabulary's {self.symbols!r}")
        return np.array(tokens + [len(self.symbols)] * self.ends, np.int64)

    def decode(self, tokens) -> str:
        """The text of integer tokens (n,), up to its end if there is one.

        Raises
        ------
        InputError
            A token is none of the vocabulary's.
        """
        given = np.asarray(tokens)
        if given.ndim != 1 or given.size and given.dtype.kind not in "iu":
            raise InputError(f"expected integer tokens (n,), got {given.dtype} of shape {given.shape}")
        wrong = given[(given < 0) | (given >= self.size)]
        if wrong.size:
            raise InputError(f"tokens must lie in 0..{self.size - 1}, got {wrong[0]}")
        if self.ends:
            given = given[: next(iter(np.flatnonzero(given == self.end)), len(given))]
        return "".join(self.symbols[k] for k in given)
