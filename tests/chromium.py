"""A headless Chromium for tests that look at a page as a reader does."""

import html
import shutil
import subprocess
import tempfile
from pathlib import Path

from conftest import skip_unless_ci

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
TIMEOUT_S = 60


def framed(page: str, *, width: int, height: int = 1000) -> str:
    """A page that shows `page` in a frame of `width` CSS pixels and notes how it came out.

    A headless window is never narrower than 500 pixels; a frame is as narrow as it is told to be. The
    page itself stays untouched: a script outside it writes `data-scroll-width`, `data-scroll-height` and
    `data-background`.
    """
    return (
        '<!doctype html><html><body style="margin:0">'
        f'<iframe style="width:{width}px;height:{height}px;border:0" srcdoc="{html.escape(page)}"></iframe>'
        "<script>addEventListener('load', () => {"
        "const inside = document.querySelector('iframe').contentDocument.documentElement;"
        "document.body.dataset.scrollWidth = inside.scrollWidth;"
        "document.body.dataset.scrollHeight = inside.scrollHeight;"
        "const body = inside.querySelector('body');"
        "document.body.dataset.background = getComputedStyle(body).backgroundColor;"
        "});</script></body></html>"
    )


def dump_dom(page: Path, *, dark: bool = False) -> str:
    """The document that Chromium makes of a page, as HTML, once the page has loaded."""
    return _chromium("--virtual-time-budget=5000", "--dump-dom", page=page, dark=dark)


def screenshot(page: Path, picture: Path, *, width: int, height: int, dark: bool = False) -> None:
    """Take a PNG of the top `width` × `height` pixels of a page, in the light or the dark scheme."""
    size = f"--window-size={width},{height}"
    _chromium(size, f"--screenshot={picture.resolve()}", page=page, dark=dark)


def _chromium(*arguments: str, page: Path, dark: bool) -> str:
    binary = shutil.which("chromium")
    if binary is None:
        skip_unless_ci("there is no `chromium` here; install the package of that name")
    with tempfile.TemporaryDirectory() as profile:
        # Chromium's settings number the schemes: 0 is dark, 1 is light.
        scheme = f"--blink-settings=preferredColorScheme={int(not dark)}"
        command = [str(binary), *FLAGS, f"--user-data-dir={profile}", scheme, *arguments]
        command.append(page.resolve().as_uri())
        ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
