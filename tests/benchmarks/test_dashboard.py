"""asv's dashboard over a small history: published from results as they are on disk, and looked at in a browser."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.dashboard import browser, publish, screenshot, served, whole

pytest.importorskip("asv")
ROOT = Path(__file__).parents[2]
VALUES = [3.0, 2.0, 2.5, 1.0]
BENCHMARK = """
from pathlib import Path

class Speed:
    version = "1"
    params = (["lstm", "gru"],)
    param_names = ("cell",)

    def track_ratio(self, cell):
        return float(Path({value!r}).read_text()) * (1 if cell == "lstm" else 2)
"""


def asv(folder, *arguments):
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin:" + str(Path(sys.executable).parent)}
    done = subprocess.run([sys.executable, "-m", "asv", *arguments], cwd=folder, env=environment, capture_output=True,
                          text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A repository with this project's settings of asv, and results of four commits of its own."""
    folder = tmp_path_factory.mktemp("history")
    value = folder / "value"
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "__init__.py").write_text("")
    (folder / "benchmarks" / "speed.py").write_text(BENCHMARK.format(value=str(value)))
    shutil.copy(ROOT / "asv.conf.json", folder)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    asv(folder, "machine", "--yes", "--machine", "small")
    for k, number in enumerate(VALUES):
        value.write_text(str(number))
        (folder / "change").write_text(str(k))
        subprocess.run(["git", "add", "change"], cwd=folder, check=True)
        when = {"GIT_AUTHOR_DATE": f"2026-01-0{k + 1}T12:00:00", "GIT_COMMITTER_DATE": f"2026-01-0{k + 1}T12:00:00"}
        subprocess.run(["git", *who, "commit", "-qm", f"change {k}"], cwd=folder, check=True, env=when)
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
        asv(folder, "run", "--quick", "--machine", "small", "-E", f"existing:{sys.executable}",
            "--set-commit-hash", head.stdout.strip())  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def html(history):
    return publish(history)


@pytest.fixture(scope="module")
def alone(html):
    """The pages with all that they load."""
    if not (html / "assets").exists():
        pytest.skip("needs npm, which brings the scripts of the pages")
    return html


def test_the_dashboard_holds_every_commit(html):
    graphs = [p for p in html.rglob("*.json") if p.name == "speed.Speed.track_ratio.json" and "graphs" in p.parts]
    summary = next(p for p in graphs if "summary" in p.parts)
    assert [y for _, y in json.loads(summary.read_text())] == pytest.approx([v * 2**0.5 for v in VALUES])


def test_the_dashboard_needs_no_network(alone):
    page = (alone / "index.html").read_text()
    assert "https://" not in "".join(line for line in page.splitlines() if "<script" in line or "<link" in line)
    for name in ("jquery.min.js", "jquery.flot.js", "bootstrap.min.css"):
        assert f'"assets/{name}"' in page and (alone / "assets" / name).exists()


def test_a_script_that_is_not_here_is_told(tmp_path):
    (tmp_path / "index.html").write_text('<script src="https://example.org/unknown.js"></script>')
    with pytest.raises(SystemExit, match="brings no unknown.js"):
        whole(tmp_path, {"known.js": tmp_path / "known.js"})


@pytest.mark.skipif(browser() is None, reason="needs a Chromium: apt-get install chromium, or like it")
@pytest.mark.parametrize("page", ["", "#speed.Speed.track_ratio"], ids=["grid", "graph"])
def test_a_browser_draws_the_graphs(alone, tmp_path, page):
    with served(alone) as address:
        text = screenshot(address + page, tmp_path / "page.png")
    assert 'class="flot-base"' in text and "track_ratio" in text
    assert coloured(tmp_path / "page.png", page) > 200


@pytest.mark.skipif(browser() is None, reason="needs a Chromium: apt-get install chromium, or like it")
def test_a_graph_without_results_has_no_line(alone, tmp_path):
    empty = shutil.copytree(alone, tmp_path / "html")
    for path in empty.rglob("speed.Speed.track_ratio.json"):
        if "graphs" in path.parts:
            path.write_text("[]")
    with served(empty) as address:
        screenshot(address + "#speed.Speed.track_ratio", tmp_path / "page.png")
    assert coloured(tmp_path / "page.png", "#") == 0


def coloured(picture: Path, page: str) -> int:
    """Pixels with a colour where the lines are: right of the settings and below the legend, or below the title."""
    from matplotlib.image import imread

    pixels = imread(picture)[..., :3]
    inside = pixels[220:750, 280:1160] if page else pixels[150:]
    return int((inside.max(2) - inside.min(2) > 0.3).sum())
