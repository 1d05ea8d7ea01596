"""Every snippet of the README and the guides runs.

A fenced block is code by its first word. A second word is a file: the block is written there, for the blocks after
it. ``python`` runs in a namespace that the page shares; ``sh`` runs in a folder that the page has to itself, unless it
installs something: then it stands, word for word, in `.ci/run`. ``text`` right after one of the two is what that one
prints, ``...`` standing for anything.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import linecache
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import rnncore as rn
from rnncore.hookspecs import KINDS as KINDS_OF_HOOKS
from rnncore.registry import build

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
KINDS = {"python", "sh", "text", "toml", "csv", "json"}
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.M | re.S)


@dataclass
class Block:
    """A fenced block: its kind, the file that it is, its text, and the page's line where that begins."""

    kind: str
    file: str | None
    text: str
    line: int


def blocks_of(text: str) -> list[Block]:
    found = []
    for match in FENCE.finditer(text):
        kind, *file = match["info"].split()
        line = text.count("\n", 0, match.start("body")) + 1
        found.append(Block(kind, file[0] if file else None, match["body"], line))
    return found


def installs(block: Block) -> bool:
    return block.kind == "sh" and bool(re.search(r"\b(pip|asv|pre-commit) ", block.text))


class Session:
    """A page being run: its namespace, its folder."""

    def __init__(self, page: Path, folder: Path):
        self.page, self.folder = page, folder
        self.module = ModuleType(f"snippets_{page.stem.replace('-', '_')}")
        linecache.checkcache(str(page))

    def run(self, block: Block) -> str:
        if block.file:
            (self.folder / block.file).write_text(block.text)
        elif block.kind == "python":
            return self._python(block)
        elif block.kind == "sh" and not installs(block):
            return self._shell(block)
        elif block.kind == "toml":
            tomllib.loads(block.text)
        elif block.kind == "json":
            json.loads(block.text)
        return ""

    def _python(self, block: Block) -> str:
        """Errors and sources point at the lines of the page itself."""
        code = compile("\n" * (block.line - 1) + block.text, str(self.page), "exec")
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(code, self.module.__dict__)
        return said.getvalue()

    def _shell(self, block: Block) -> str:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        command = ["bash", "-euo", "pipefail", "-c", block.text]
        done = subprocess.run(
            command, cwd=self.folder, env={**os.environ, "PATH": path}, text=True, capture_output=True
        )
        assert done.returncode == 0, f"{block.text}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_snippet_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session, said, before = Session(page, tmp_path), "", None
    monkeypatch.setitem(sys.modules, session.module.__name__, session.module)
    alike = doctest.OutputChecker()
    for block in blocks_of(page.read_text()):
        if block.kind == "text" and before is not None and not installs(before):
            options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            shown = f"{page.name}:{block.line} shows\n{block.text}\nbut this is printed\n{said}"
            assert alike.check_output(block.text, said, options), shown
            before = None
        else:
            said, before = session.run(block), block


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_block_is_of_a_known_kind(page):
    for block in blocks_of(page.read_text()):
        assert block.kind in KINDS, f"{page.name}:{block.line}: what is {block.kind!r}?"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_installs_is_run_by_ci(page):
    """Word for word, so that the command of a page is the very one that is tested."""
    ci = (ROOT / ".ci" / "run").read_text()
    for block in blocks_of(page.read_text()):
        if installs(block):
            for line in block.text.strip().splitlines():
                assert f"\n{line}\n" in ci, f"{page.name}:{block.line}: not in .ci/run: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = re.sub(r"`[^`]*`", "", FENCE.sub("", page.read_text()))
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: no {target}"


def test_the_first_two_commands_of_the_readme_install_and_run():
    first, second, *_ = [b for b in blocks_of((ROOT / "README.md").read_text()) if b.kind == "sh"]
    for block, last in ((first, "rnncore train"), (second, "pytest -n auto --dist worksteal")):
        assert block.text.count("\n") == 1
        assert "pip install" in block.text and block.text.strip().endswith(last)


def test_every_guide_is_linked_from_the_readme():
    text = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in text


def test_the_readme_names_what_is_registered():
    text = (ROOT / "README.md").read_text()
    for kind, names in build().entries.items():
        for name, (claim, *_) in names.items():
            if claim.provider == "rnncore":
                assert f"`{name}`" in text, f"{kind} {name!r} is missing"


def test_the_guides_name_every_hook_and_public_name():
    text = "".join(p.read_text() for p in PAGES)
    for name in (*KINDS_OF_HOOKS.values(), *(n for n in rn.__all__ if not n.startswith("_"))):
        assert re.search(rf"\b{name}\b", text), f"{name} is nowhere explained"


def test_every_design_note_is_listed():
    folder = ROOT / "docs" / "design"
    listed = set(re.findall(r"\((\d{3}-[\w-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {p.name for p in folder.glob("[0-9]*.md")}


class TestTheRunner:
    """That a snippet which is wrong is found out."""

    def session(self, tmp_path, text):
        page = tmp_path / "page.md"
        page.write_text(text)
        return Session(page, tmp_path), blocks_of(text)

    def test_an_error_points_at_the_line_of_the_page(self, tmp_path):
        session, (block,) = self.session(tmp_path, "words\n\n```python\nx = 1\n1 / 0\n```\n")
        with pytest.raises(ZeroDivisionError) as error:
            session.run(block)
        assert error.traceback[-1].lineno + 1 == 5

    def test_a_command_that_fails_is_an_error(self, tmp_path):
        session, (block,) = self.session(tmp_path, "```sh\nfalse\n```\n")
        with pytest.raises(AssertionError):
            session.run(block)

    def test_blocks_of_a_page_share_names_and_files(self, tmp_path):
        write, read = "```csv a.csv\n1\n```\n", "```python\nx = pathlib.Path('a.csv').read_text()\n```\n"
        text = f"```python\nimport pathlib\n```\n{write}{read}```python\nprint(x)\n```\n"
        session, blocks = self.session(tmp_path, text)
        with contextlib.chdir(tmp_path):
            assert [session.run(b) for b in blocks] == ["", "", "", "1\n\n"]
