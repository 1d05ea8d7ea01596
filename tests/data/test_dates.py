"""Dates in free form: each text is one date, and what is held out is new as a date."""

import re
from datetime import date, timedelta

import pytest

import rnncore.data as data
from rnncore.data.dates import CASES, DAYS, FIRST, ways_to_write
from rnncore.data.languages import LANGUAGES
from rnncore.errors import InputError


def test_no_text_stands_for_two_dates():
    """Within a year: its four digits are in every text, and nothing else has four."""
    meant = {}
    for k in range(366):
        day = date(2004, 1, 1) + timedelta(k)
        for texts in ways_to_write(day).values():
            for text in {case(text) for text in texts for case in CASES}:
                assert meant.setdefault(text, day) == day, text
                assert "2004" in text and len(re.findall(r"\d{4}", text)) <= 2
    assert len(meant) > 60_000


def test_a_name_of_a_month_means_it_in_every_language():
    meant, weekdays = {}, set()
    for language in LANGUAGES.values():
        assert len(language.months.split()) == len(language.short.split()) == 12
        assert len(language.weekdays.split()) == 7
        weekdays |= set(language.weekdays.lower().split())
        for names in (language.months, language.short):
            for month, name in enumerate(names.lower().split()):
                assert meant.setdefault(name, month) == month, name
    assert not weekdays & set(meant)


def test_forms_known_by_heart():
    ways = ways_to_write(date(1987, 5, 3))
    assert {"the 3rd of May, 1987", "Sunday, May 3, 1987", "May 3rd, 1987"} <= set(ways["en"])
    assert {"3. Mai 1987", "Sonntag, den 3. Mai 1987"} <= set(ways["de"])
    assert {"mayo 3 de 1987", "domingo, 3 de mayo de 1987"} <= set(ways["es"])
    assert {"3 maja 1987", "niedziela, 3 maja 1987"} <= set(ways["pl"])
    assert {"1987-05-03", "3.5.1987", "3 V 1987"} <= set(ways["numbers"])
    assert "1er mai 1987" in ways_to_write(date(1987, 5, 1))["fr"]
    ordinals = {d: ways_to_write(date(1987, 5, d))["en"][6].split()[0] for d in (1, 2, 3, 4, 11, 12, 13, 21, 22, 23)}
    assert list(ordinals.values()) == "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 23rd".split()


def test_an_order_in_doubt_is_not_written():
    numbers = [text for day in (3, 12) for text in ways_to_write(date(1987, 5, day))["numbers"]]
    assert not [text for text in numbers if re.fullmatch(r"\d+[/-]\d+[/-]\d{4}", text)]
    assert {"13/5/1987", "5/13/1987"} <= set(ways_to_write(date(1987, 5, 13))["numbers"])


def test_dates_occur_once_and_lie_in_the_years():
    train, test = data.date_pairs(3000, 500, seed=3)
    days = [*train.targets, *test.targets]
    assert len(set(days)) == 3500 and len(train) == 3000
    assert all(day == date.fromisoformat(day).isoformat() and "1900" <= day[:4] <= "2099" for day in days)


def test_all_dates_can_be_asked_for():
    train, test = data.date_pairs(DAYS - 10, 10)
    assert len({*train.targets, *test.targets}) == DAYS and FIRST.isoformat() in {*train.targets, *test.targets}


def test_every_source_is_a_way_to_write_its_target():
    train, _ = data.date_pairs(300, 0)
    for source, target in zip(train.sources, train.targets):
        ways = ways_to_write(date.fromisoformat(target)).values()
        assert source in {case(text) for texts in ways for text in texts for case in CASES}


def test_the_seed_decides():
    assert data.date_pairs(50, 5, seed=1) == data.date_pairs(50, 5, seed=1)
    assert data.date_pairs(50, 5, seed=1) != data.date_pairs(50, 5, seed=2)
    assert data.date_pairs(50, 5, seed=1)[1] == data.date_pairs(20, 5, seed=1)[1]  # whatever the training data


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"train": DAYS, "test": 1}, "there are 73049 dates"), ({"train": -1}, "train"), ({"test": 2.5}, "test"),
        ({"seed": -1}, "seed"),
    ],
)  # fmt: skip
def test_impossible_numbers_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        data.date_pairs(**given)
