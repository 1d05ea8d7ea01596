"""One value for what a data file holds: ragged sequences, their targets, and what the targets mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from ..errors import InputError

__all__ = ["Sequences", "held_out"]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of different lengths with their targets, as a file holds them.

    Parameters
    ----------
    x : list of ndarray of float64, each (T_i, features)
        NaN where a value is missing.
    y : ndarray, list of ndarray, or None
        One target a sequence: (N,) integers, places in `classes`, or (N, outputs) values. One target a
        step: a list of (T_i,) integers or of (T_i, outputs) values. None where the file has no targets.
    classes : tuple of str, or None
        Names of the classes; None where targets are values.
    features : tuple of str
        Name of each feature.
    ids : tuple of str
        Name of each sequence.
    source : str
        Where they come from.

    Examples
    --------
    >>> import rnncore as rn
    >>> train, test = rn.data.japanese_vowels()
    >>> train
    Sequences(270 x (7 to 26 steps, 12 features), 9 classes, from JapaneseVowels_TRAIN.ts)
    >>> train.x[0].shape, int(train.y[0]), train.classes[0]
    ((20, 12), 0, '1')
    """

    x: list[np.ndarray]
    y: np.ndarray | list[np.ndarray] | None
    classes: tuple[str, ...] | None
    features: tuple[str, ...]
    ids: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, indices) -> Sequences:
        """The sequences at `indices` (a slice, a mask, or integers)."""
        chosen = np.arange(len(self))[indices]
        y = [self.y[k] for k in chosen] if isinstance(self.y, list) else self.y
        y = y[chosen] if isinstance(y, np.ndarray) else y
        return replace(self, x=[self.x[k] for k in chosen], y=y, ids=tuple(self.ids[k] for k in chosen))

    def __repr__(self) -> str:
        low, high = (min(map(len, self.x)), max(map(len, self.x))) if self.x else (0, 0)
        if self.y is None:
            meant = "no targets"
        elif self.classes is not None:
            meant = f"{len(self.classes)} classes"
        else:
            meant = f"{self.outputs} {'value' if self.outputs == 1 else 'values'}"
        meant += " per step" if self.per_step else ""
        shape = f"({low} to {high} steps, {len(self.features)} features)"
        return f"Sequences({len(self)} x {shape}, {meant}, from {self.source})"

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each sequence, (N,) int64."""
        return np.array([len(s) for s in self.x], np.int64)

    @property
    def per_step(self) -> bool:
        """Whether there is one target a step."""
        return isinstance(self.y, list)

    @property
    def outputs(self) -> int | None:
        """Numbers that a network must give: one a class, or one a value; None without targets."""
        if self.classes is not None:
            return len(self.classes)
        if self.y is None or not len(self.y):
            return None
        return self.y[0].shape[-1]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each feature over all steps of all sequences.

        Returns
        -------
        mean, scale : ndarray of float64, (features,)
            Missing values are left out; the scale of a constant feature is 1.
        """
        steps = np.concatenate(self.x) if self.x else np.zeros((0, len(self.features)))
        known = ~np.isnan(steps)
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, steps, 0.0).sum(0) / count
        scale = np.sqrt((np.where(known, steps - mean, 0.0) ** 2).sum(0) / count)
        return mean, np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1e-300), scale, 1.0)

    def standardize(self, mean: np.ndarray | None = None, scale: np.ndarray | None = None) -> Sequences:
        """Every feature less its mean, divided by its scale.

        Parameters
        ----------
        mean, scale : array_like, (features,), optional
            Those of the training data; by default these sequences' own `moments`.

        Raises
        ------
        InputError
            If there is one number for each of another number of features.

        Examples
        --------
        >>> import rnncore as rn
        >>> train, test = rn.data.japanese_vowels()
        >>> test = test.standardize(*train.moments())
        """
        own = self.moments()
        shift = np.asarray(own[0] if mean is None else mean, float)
        factor = np.asarray(own[1] if scale is None else scale, float)
        for name, given in (("mean", shift), ("scale", factor)):
            if given.shape != (len(self.features),):
                raise InputError(
                    f"{name}: expected one number for each of {len(self.features)} features, "
                    f"got shape {given.shape}"
                )
        return replace(self, x=[(s - shift) / factor for s in self.x])

    def with_classes(self, classes: Sequence[str]) -> Sequences:
        """The same sequences with `y` counted in the order of other class names.

        Raises
        ------
        InputError
            If these targets are no classes, or one is not among `classes`.
        """
        if self.classes is None or self.y is None:
            raise InputError(f"{self.source} has no classes, but classes are expected: {', '.join(classes)}")
        place = {name: k for k, name in enumerate(classes)}
        used = np.unique(np.concatenate([np.zeros(0, int), *map(np.atleast_1d, self.y)]))
        foreign = [self.classes[k] for k in used if self.classes[k] not in place]
        if foreign:
            raise InputError(
                f"{self.source} has the class {foreign[0]!r}, which is none of: {', '.join(classes)}"
            )
        recode = np.array([place.get(name, -1) for name in self.classes], np.int64)
        y = [recode[t] for t in self.y] if self.per_step else recode[self.y]
        return replace(self, y=y, classes=tuple(classes))

    def split(self, fraction: float = 0.2, seed: int = 0) -> tuple[Sequences, Sequences]:
        """Hold out a random part, with each class in proportion where a sequence has one class.

        Parameters
        ----------
        fraction : float
            Between 0 and 1: the share of the second part.
        seed : int
            The same seed gives the same parts.

        Returns
        -------
        rest, held : Sequences
            Both in the order of the whole.

        Raises
        ------
        InputError
            If one of the two would be empty.

        Examples
        --------
        >>> import rnncore as rn
        >>> train, _ = rn.data.japanese_vowels()
        >>> [len(part) for part in train.split(0.1, seed=0)]
        [243, 27]
        """
        of_one_class = self.y if self.classes is not None and isinstance(self.y, np.ndarray) else None
        held = held_out(len(self), fraction, seed, of_one_class)
        return self[~held], self[held]


def held_out(count: int, fraction: float, seed: int, classes: np.ndarray | None = None) -> np.ndarray:
    """Which of `count` sequences a random part of them holds, (count,) bool; stratified by `classes`.

    Raises
    ------
    InputError
        If `fraction` is no number, or the part, or the rest, would be empty.
    """
    if not isinstance(fraction, Real) or not np.isfinite(fraction):
        raise InputError(f"a fraction is a number between 0 and 1, got {fraction!r}")
    size = round(count * fraction)
    if not 0 < size < count:
        raise InputError(f"a fraction of {fraction} of {count} sequences leaves one part empty")
    order = np.random.default_rng(seed).permutation(count)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    held = np.zeros(count, bool)
    held[order[((np.arange(size) + 0.5) * count / size).astype(int)]] = True
    return held
