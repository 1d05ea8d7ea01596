"""The embedded data sets name their source and licence, and are what was published."""

from pathlib import Path

import rnncore.data as data


def test_sunspots():
    year, number = data.sunspots()
    assert year.shape == number.shape == (309,)
    assert (year[0], year[-1]) == (1700, 2008) and (year[1:] - year[:-1] == 1).all()
    assert (number[0], number[1], number[-1]) == (5.0, 11.0, 2.9) and (number >= 0).all()


def test_every_embedded_file_has_its_source_and_licence():
    folder = Path(data.__file__).parent / "files"
    told = (folder / "README.md").read_text()
    files = [f.name for f in folder.iterdir() if f.name != "README.md"]
    assert len(files) == 4 and all(f"`{name}`" in told for name in files)
    assert "CC BY 4.0" in told and "public domain" in told


def test_sonnets():
    text = data.sonnets()
    poems = text.strip().split("\n\n")
    assert len(poems) == 39 and {len(p.splitlines()) for p in poems} == {14}
    assert "Shall I compare thee to a summer's day?" in text and text.isascii() and len(text) == 23868
