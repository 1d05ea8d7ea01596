"""How did speed and memory move over the commits?

``python -m benchmarks.dashboard`` runs ``asv publish`` over the results that `asv run` left, and makes the pages whole:
asv's load their scripts from other hosts, these from a folder beside them, where npm puts what ``package.json`` names;
without npm they stay as they are. ``--open 1`` serves them on this machine, ``--picture FILE.png`` draws the page
``--page`` with Chromium.
"""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .common import arguments

__all__ = ["browser", "publish", "screenshot", "scripts", "served", "whole"]

PACKAGES = Path(__file__).parent / "package.json"
ADDRESS = re.compile(
    r'(src|href)="https://[^"]*/([^"/]+\.(?:js|css))"(?:\s+(?:integrity|crossorigin|referrerpolicy)="[^"]*")*'
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def scripts(folder: Path) -> dict[str, Path]:
    """Scripts and styles that the pages load, by their names, installed into a folder; none where npm cannot."""
    npm = shutil.which("npm")
    if npm is None:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(PACKAGES, folder)
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--silent"]
    if subprocess.run(command, cwd=folder).returncode:
        print("npm could not install the scripts of the pages: they load them from the network", file=sys.stderr)
        return {}
    found = [path for kind in ("js", "css") for path in folder.rglob(f"*.{kind}")]
    return {path.name: path for path in sorted(found, key=lambda path: len(path.parts), reverse=True)}


def whole(html: Path, found: dict[str, Path]) -> None:
    """Have the published pages load every script and style from their own folder (see `scripts`).

    Raises
    ------
    SystemExit
        A page wants one that is not among those found: asv has changed.
    """
    (html / "assets").mkdir(exist_ok=True)

    def local(address: re.Match) -> str:
        name = re.sub(r"-[0-9.]+[0-9]", "", address[2])
        name = name if name in found else name.replace(".min.", ".")
        if name not in found:
            raise SystemExit(f"the dashboard loads {address[0]}, and {PACKAGES.name} brings no {address[2]}")
        shutil.copy(found[name], html / "assets" / name)
        return f'{address[1]}="assets/{name}"'

    for page in html.glob("*.html"):
        page.write_text(ADDRESS.sub(local, page.read_text(encoding="utf-8")), encoding="utf-8")


def publish(folder: Path = Path(), config: str = "asv.conf.json") -> Path:
    """Publish the results of a checkout; returns the folder of pages."""
    subprocess.run([sys.executable, "-m", "asv", "publish", "--config", config], cwd=folder, check=True)
    html = folder / json.loads((folder / config).read_text())["html_dir"]
    if found := scripts(folder / ".asv" / "scripts"):
        whole(html, found)
    return html


@contextmanager
def served(html: Path) -> Iterator[str]:
    """The address of the pages, on this machine only, as long as the block lasts."""
    import threading

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def browser() -> str | None:
    """A Chromium, if there is one."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def screenshot(address: str, picture: Path, size: tuple[int, int] = (1200, 900)) -> str:
    """Draw a page without a screen into a PNG; returns the page as it stands after its scripts have run."""
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                 f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}",
                 "--virtual-time-budget=20000"]  # fmt: skip
        run = functools.partial(subprocess.run, check=True, capture_output=True, text=True, timeout=120)
        run([browser(), *flags, f"--screenshot={picture}", address])
        return run([browser(), *flags, "--dump-dom", address]).stdout


def main() -> None:
    options = arguments(
        __doc__,
        config=("asv.conf.json", "asv's settings."),
        open=(0, "1: serve the pages on this machine, until Enter."),
        picture=("", "A .png file to draw a page into, with Chromium."),
        page=("", "Which page is drawn, as its address ends: #... By default the first."),
    )
    html = publish(Path(), options.config)
    if options.picture:
        with served(html) as address:
            screenshot(address + options.page, Path(options.picture).resolve())
    print(html)
    if options.open:
        with served(html) as address:
            input(f"{address}  (Enter ends)")


if __name__ == "__main__":
    main()
