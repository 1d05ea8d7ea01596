"""How dates are written in ten languages: names of months and weekdays, and usual forms."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LANGUAGES", "NUMERIC", "PAST_THE_TWELFTH", "Language"]


@dataclass(frozen=True)
class Language:
    """Words and forms of a language.

    Parameters
    ----------
    months, short : str
        Twelve names and twelve abbreviations, January first, apart by blanks, in the case used in dates.
    weekdays : str
        Seven names, Monday first.
    forms : tuple of str
        ``{d} {dd}`` day, ``{first}`` day with the first of a month set apart, ``{th}`` ordinal day, ``{month} {mon}``
        name and abbreviation, ``{weekday}``, ``{y}`` year.
    first : str
        How the first day of a month is written.
    """

    months: str
    short: str
    weekdays: str
    forms: tuple[str, ...]
    first: str = "1"


LANGUAGES = {
    "en": Language(
        "January February March April May June July August September October November December",
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
        (
            "{month} {d}, {y}", "{d} {month} {y}", "{mon} {d}, {y}", "{d} {mon} {y}", "{dd}-{mon}-{y}",
            "the {th} of {month}, {y}", "{th} {month} {y}", "{month} {th}, {y}", "{month} the {th}, {y}",
            "{weekday}, {month} {d}, {y}", "{weekday} {d} {month} {y}", "{weekday}, the {th} of {month} {y}",
        ),
    ),
    "de": Language(
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez",
        "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
        (
            "{d}. {month} {y}", "{dd}. {month} {y}", "{d}. {mon} {y}", "den {d}. {month} {y}", "am {d}. {month} {y}",
            "{weekday}, {d}. {month} {y}", "{weekday}, den {d}. {month} {y}", "{weekday}, {d}. {mon} {y}",
        ),
    ),
    "fr": Language(
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "janv févr mars avr mai juin juil août sept oct nov déc",
        "lundi mardi mercredi jeudi vendredi samedi dimanche",
        (
            "{first} {month} {y}", "le {first} {month} {y}", "{weekday} {first} {month} {y}",
            "le {weekday} {first} {month} {y}", "{first} {mon}. {y}", "{weekday} {first} {mon} {y}",
        ),
        "1er",
    ),
    "es": Language(
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "ene feb mar abr may jun jul ago sep oct nov dic",
        "lunes martes miércoles jueves viernes sábado domingo",
        (
            "{d} de {month} de {y}", "{month} {d} de {y}", "el {first} de {month} de {y}", "{d} de {month} del {y}",
            "{weekday}, {d} de {month} de {y}", "{weekday} {d} {mon} {y}", "{d}-{mon}-{y}", "{d} {month} {y}",
        ),
        "1º",
    ),
    "it": Language(
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "gen feb mar apr mag giu lug ago set ott nov dic",
        "lunedì martedì mercoledì giovedì venerdì sabato domenica",
        (
            "{first} {month} {y}", "{d} {mon} {y}", "{weekday} {first} {month} {y}", "{weekday}, {first} {month} {y}",
            "{weekday} {d} {mon}. {y}",
        ),
        "1º",
    ),
    "nl": Language(
        "januari februari maart april mei juni juli augustus september oktober november december",
        "jan feb mrt apr mei jun jul aug sep okt nov dec",
        "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
        (
            "{d} {month} {y}", "op {d} {month} {y}", "de {d}e {month} {y}", "{d} {mon}. {y}",
            "{weekday} {d} {month} {y}", "op {weekday} {d} {month} {y}",
        ),
    ),
    "pt": Language(
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        "jan fev mar abr mai jun jul ago set out nov dez",
        "segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo",
        (
            "{first} de {month} de {y}", "em {first} de {month} de {y}", "{d} de {mon}. de {y}", "{d}/{mon}/{y}",
            "{weekday}, {first} de {month} de {y}",
        ),
        "1º",
    ),
    "pl": Language(
        "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
        "sty lut mar kwi maj cze lip sie wrz paź lis gru",
        "poniedziałek wtorek środa czwartek piątek sobota niedziela",
        (
            "{d} {month} {y}", "{d} {month} {y} r.", "dnia {d} {month} {y} r.", "{d} {mon} {y}",
            "{weekday}, {d} {month} {y}",
        ),
    ),
    "sv": Language(
        "januari februari mars april maj juni juli augusti september oktober november december",
        "jan feb mar apr maj jun jul aug sep okt nov dec",
        "måndag tisdag onsdag torsdag fredag lördag söndag",
        ("{d} {month} {y}", "den {d} {month} {y}", "{weekday} den {d} {month} {y}", "{weekday} {d} {mon}. {y}"),
    ),
    "cs": Language(
        "ledna února března dubna května června července srpna září října listopadu prosince",
        "led úno bře dub kvě čer čvc srp zář říj lis pro",
        "pondělí úterý středa čtvrtek pátek sobota neděle",
        ("{d}. {month} {y}", "dne {d}. {month} {y}", "{weekday} {d}. {month} {y}", "{d}. {mon}. {y}"),
    ),
}  # fmt: skip

#: Forms without a name: a year comes first and a month next, or, with points or a Roman month, the day comes first.
NUMERIC = (
    "{y}-{mm}-{dd}", "{y}/{mm}/{dd}", "{y}.{mm}.{dd}", "{y}{mm}{dd}", "{dd}.{mm}.{y}", "{d}.{m}.{y}", "{d}. {m}. {y}",
    "{d} {roman} {y}", "{dd}.{roman}.{y}",
)  # fmt: skip

#: Both orders are in use of these: only a day past the twelfth tells them apart.
PAST_THE_TWELFTH = ("{d}/{m}/{y}", "{m}/{d}/{y}", "{dd}/{mm}/{y}", "{mm}/{dd}/{y}", "{dd}-{mm}-{y}", "{mm}-{dd}-{y}")
