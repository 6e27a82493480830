"""One self-contained page: looks, plotly and data inside it, nothing fetched from anywhere."""

from __future__ import annotations

import json
import os
import tempfile
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from scenarios.page_script import SCRIPT
from scenarios.page_style import STYLE

# the browser itself holds the promise that the page asks nobody for anything
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


@lru_cache(maxsize=1)
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")


def document(title: str, top: str, body: str, data: dict[str, Any]) -> str:
    """The page. `top` and `body` are HTML; `data` is embedded as JSON under the id `data`."""
    # a < could end the script element, and only there
    embedded = json.dumps(data, sort_keys=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header class="top">{top}
<noscript><p class="hint">The figures need JavaScript; the text and the tables do not.</p></noscript></header>
<main>{body}</main>
<footer>Bytes are payloads of all clients together, counted as sent; 1 kB is 1,000 bytes. “Saved” compares the
uplink with what the same messages would have taken uncompressed. All figures of this page lie in it as JSON,
in the element with the id “data”.</footer>
<script type="application/json" id="data">{embedded}</script>
<script>{_plotly()}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""


def save(text: str, path: Path) -> Path:
    """Replaces `path` by `text` at once, so that nobody ever sees half a page."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp lets only its owner read
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return path
