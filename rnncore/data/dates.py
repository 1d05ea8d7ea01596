"""Dates as people write them, and as ISO 8601 has them: pairs to learn translation from."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from ..arguments import whole
from ..errors import InputError
from .languages import LANGUAGES, NUMERIC, PAST_THE_TWELFTH, Language
from .pairs import Pairs

__all__ = ["date_pairs", "ways_to_write"]

FIRST, LAST = date(1900, 1, 1), date(2099, 12, 31)
DAYS = (LAST - FIRST).days + 1
ROMAN = "I II III IV V VI VII VIII IX X XI XII".split()
CASES = (lambda s: s, str.lower, str.upper, lambda s: s[:1].upper() + s[1:])
CASE_SHARES = (0.55, 0.15, 0.15, 0.15)


def date_pairs(train: int = 20_000, test: int = 2_000, seed: int = 0) -> tuple[Pairs, Pairs]:
    """Dates in free form with their ISO form, to train on and to test on.

    Dates of 1900 to 2099 in ten languages, in numbers and in words, with and without weekdays, ordinals and
    abbreviations, in upper and lower case. A text never stands for two dates: day and month are both numbers only
    where their order is sure, and years have four digits. The languages, and numbers as one more, are equally
    frequent, and so are the forms of each.

    Parameters
    ----------
    train, test : int
        Pairs, at least 0 and together at most 73,049, the days of these years: no date occurs twice, so that
        the dates tested on are new as dates, not only as texts.
    seed : int
        The same seed gives the same pairs.

    Returns
    -------
    train, test : Pairs

    Raises
    ------
    InputError
        There are not so many dates, or a number is none.

    Examples
    --------
    >>> import rnncore as rn
    >>> train, test = rn.data.date_pairs(train=1000, test=100, seed=0)
    >>> train
    Pairs(1000 pairs, 8 to 37 characters to 10)
    """
    for name, count in (("train", train), ("test", test), ("seed", seed)):
        if whole(count, 0) is None:
            raise InputError(f"{name}: expected a whole number, 0 or more, got {count!r}")
    if train + test > DAYS:
        raise InputError(f"train and test: there are {DAYS} dates of {FIRST.year} to {LAST.year}, got {train + test}")
    rng = np.random.default_rng(seed)
    days = [FIRST + timedelta(int(n)) for n in rng.permutation(DAYS)[: train + test]]
    sources = [_written(day, rng) for day in days]
    targets = [day.isoformat() for day in days]
    return Pairs(sources[test:], targets[test:]), Pairs(sources[:test], targets[:test])


def ways_to_write(day: date) -> dict[str, list[str]]:
    """Every form of a date by language, before upper and lower case; ``"numbers"`` are those without words.

    Parameters
    ----------
    day : datetime.date
        Of 1900 to 2099.

    Returns
    -------
    dict of str to list of str

    Examples
    --------
    >>> from datetime import date
    >>> from rnncore.data.dates import ways_to_write
    >>> ways_to_write(date(1987, 5, 3))["de"][:2]
    ['3. Mai 1987', '03. Mai 1987']
    """
    return {name: [form.format(**_words(day, language)) for form in forms] for name, language, forms in _forms(day)}


def _forms(day: date):
    yield from ((name, language, language.forms) for name, language in LANGUAGES.items())
    yield "numbers", LANGUAGES["en"], (*NUMERIC, *(PAST_THE_TWELFTH if day.day > 12 else ()))


def _words(day: date, language: Language) -> dict[str, object]:
    d, m = day.day, day.month
    ending = "th" if 11 <= d <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(d % 10, "th")
    return {
        "y": day.year, "m": m, "mm": f"{m:02}", "d": d, "dd": f"{d:02}", "th": f"{d}{ending}", "roman": ROMAN[m - 1],
        "first": language.first if d == 1 else d, "month": language.months.split()[m - 1],
        "mon": language.short.split()[m - 1], "weekday": language.weekdays.split()[day.weekday()],
    }  # fmt: skip


def _written(day: date, rng: np.random.Generator) -> str:
    forms = list(_forms(day))
    _, language, choices = forms[rng.integers(len(forms))]
    text = choices[rng.integers(len(choices))].format(**_words(day, language))
    return CASES[rng.choice(len(CASES), p=CASE_SHARES)](text)
