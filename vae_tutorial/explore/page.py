"""The stored form of an interactive figure: one piece of HTML that needs no kernel and no network.

It holds a poster (shown where scripts do not run), the state as JSON, and the figure's ES module
followed by a small host that hands the module a plain-object model. Nothing here needs anywidget,
so notebooks can be refreshed where no kernel and no widget library is at hand.
"""

import base64
import hashlib
import html
import json
import pathlib
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

HERE = pathlib.Path(__file__).parent
POSTER_SCALE = 1.5  # pixels of a poster for one of the page

# How a stored figure starts: it looks for its own place by its id, and a second copy of the same
# figure finds the next. (The built book takes it apart: there it starts near the screen.)
_START = """
%(host)s(() => {
  const id = "%(id)s", css = %(css)s;
  let tries = 0;
  const start = () => {
    const el = document.querySelector(`div.vf[data-vaefig="${id}"]:not([data-live])`);
    const json = document.querySelector(`script[data-vaefig-state="${id}"]`);
    if (!el || !json) { if (tries++ < 300) requestAnimationFrame(start); return; }
    if (!document.querySelector(`style[data-vaefig-css="%(css_id)s"]`)) {
      const style = document.createElement("style");
      style.dataset.vaefigCss = "%(css_id)s";
      style.textContent = css;
      document.head.append(style);
    }
    mountFigure(el, JSON.parse(json.textContent), render);
  };
  start();
})();
"""

_STORED = re.compile(
    r'<div class="vf" data-vaefig="\w+" data-figure="(?P<figure>\w+)">'
    r'.*?alt="(?P<alt>[^"]*)".*?'
    r"<script type=\"application/json\"[^>]*>(?P<state>.*?)</script>",
    re.DOTALL,
)
# The same, whole.
_WHOLE = re.compile(
    r'(?P<place><div class="vf" data-vaefig="(?P<id>\w+)" data-figure="(?P<figure>\w+)">'
    r'<img [^>]*src="data:image/png;base64,(?P<png>[^"]*)"></div>)\s*'
    r"<script type=\"application/json\"[^>]*>(?P<state>.*?)</script>\s*"
    r"<script type=\"module\">.*?</script>",
    re.DOTALL,
)


def module_source(figure: str) -> str:
    """Return the ES module of a figure with the shared library in front.

    Args:
        figure: the file name of the module without its ending.

    Raises:
        ValueError: there is no such module, or it breaks the contract (no import, no end tag).

    >>> module_source("elbo_bar").rstrip().endswith("export default { render };")
    True
    """
    path = HERE / f"{figure}.js"
    if not re.fullmatch(r"[a-z_]+", figure) or not path.exists() or figure in ("lib", "host"):
        known = ", ".join(
            sorted(p.stem for p in HERE.glob("*.js") if p.stem not in ("lib", "host"))
        )
        raise ValueError(f"there is no interactive figure {figure!r}: choose one of {known}")
    source = (HERE / "lib.js").read_text(encoding="utf8") + path.read_text(encoding="utf8")
    for forbidden in (r"^\s*import\b", r"\bimport\(", r"</script", r"https?://(?!www\.w3\.org/)"):
        if found := re.search(forbidden, source, re.MULTILINE | re.IGNORECASE):
            raise ValueError(f"{figure}.js must stand alone on a page, but holds {found[0]!r}")
    return source


def host_source() -> str:
    """Return the script that mounts a figure where no kernel is.

    >>> "const mountFigure = " in host_source()
    True
    """
    return (HERE / "host.js").read_text(encoding="utf8")


def style_source() -> str:
    """Return the style sheet that all figures share, in one line.

    >>> "\\n" in style_source()
    False
    """
    text = (HERE / "figure.css").read_text(encoding="utf8")
    return " ".join(re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL).split())


def poster_png(figure: str) -> bytes:
    """Return the committed poster of a figure, a PNG.

    >>> poster_png("elbo_bar")[1:4]
    b'PNG'
    """
    return (HERE / "posters" / f"{figure}.png").read_bytes()


def page_html(figure: str, state: Mapping[str, Any], alt: str) -> str:
    """Return the stored HTML of a figure: poster, state, module and host, the same for each run.

    Args:
        figure: the file name of the module without its ending.
        state: what the module reads; JSON values, and bytes for arrays.
        alt: the alternative text of the poster: what is to be seen, not that there is a figure.

    >>> stored = page_html("elbo_bar", {"mu": 0.0, "sigma": 1.0, "x": 1.0}, "three bars")
    >>> stored == page_html("elbo_bar", {"x": 1.0, "sigma": 1.0, "mu": 0.0}, "three bars")
    True
    """
    if not alt.strip():
        raise ValueError(f"the figure {figure!r} needs an alternative text, got {alt!r}")
    source, css, png = module_source(figure), style_source(), poster_png(figure)
    blob = json.dumps(_to_json(state), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    blob = blob.replace("<", "\\u003c")
    host = host_source()
    parts = [figure.encode(), source.encode(), css.encode(), host.encode(), blob.encode(), png]
    fid = hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]
    css_id = hashlib.sha256(css.encode()).hexdigest()[:12]
    start = _START % {"host": host, "id": fid, "css": json.dumps(css), "css_id": css_id}
    width, height = (round(side / POSTER_SCALE) for side in struct.unpack(">II", png[16:24]))
    return (
        f'<div class="vf" data-vaefig="{fid}" data-figure="{figure}">'
        f'<img alt="{html.escape(alt, quote=True)}" width="{width}" height="{height}" '
        f'style="max-width:100%;height:auto" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}"></div>\n'
        f'<script type="application/json" data-vaefig-state="{fid}">{blob}</script>\n'
        f'<script type="module">\n{source}{start}</script>'
    )


def page_parts(stored: str) -> tuple[str, str, str, str, bytes]:
    """Take the stored HTML of a figure apart: id, place, script, poster's address and poster.

    The place holds the poster as a picture with that address; the script is a classic one (a page
    on disk may not load modules) that hands state and module to `vaefig` (`figures.js`).

    Raises:
        ValueError: the text is no stored figure.

    >>> fid, place, script, address, poster = page_parts(
    ...     page_html("elbo_bar", {"mu": 0.0, "sigma": 1.0, "x": 1.0}, "three bars")
    ... )
    >>> script.startswith(f'vaefig("{fid}", '), address.endswith(".png"), poster[1:4]
    (True, True, b'PNG')
    """
    found = _WHOLE.fullmatch(stored)
    if not found:
        raise ValueError(f"this is no stored figure: {stored[:60]!r}")
    source = module_source(found["figure"])
    body = source.rstrip().removesuffix("export default { render };")
    blob = found["state"].replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    script = f'vaefig("{found["id"]}", {blob}, (() => {{\n{body}return render;\n}})());\n'
    poster = base64.b64decode(found["png"])
    address = f"{found['figure']}-{hashlib.sha256(poster).hexdigest()[:10]}.png"
    place = found["place"].replace(f"data:image/png;base64,{found['png']}", address)
    return found["id"], place, script, address, poster


def _to_json(state: Mapping[str, Any]) -> dict[str, Any]:
    """Write bytes as base64: the form that the host turns into a DataView."""
    return {
        key: {"b64": base64.b64encode(bytes(value)).decode()}
        if isinstance(value, bytes | bytearray | memoryview)
        else value
        for key, value in state.items()
    }


def _from_json(blob: str) -> dict[str, Any]:
    """Undo `_to_json`."""
    return {
        key: base64.b64decode(value["b64"])
        if isinstance(value, dict) and set(value) == {"b64"}
        else value
        for key, value in json.loads(blob).items()
    }


def stored_figures(nb: Mapping[str, Any]) -> Iterator[tuple[Any, re.Match[str]]]:
    """Yield the data of each output of a notebook that holds a figure, and what was found in it.

    Args:
        nb: a notebook as `nbformat` or `json` read it.

    >>> data = {"text/html": page_html("elbo_bar", {"x": 1.0}, "bars")}
    >>> nb = {"cells": [{"outputs": [{"data": data}]}, {"source": "no output"}]}
    >>> [found["figure"] for _, found in stored_figures(nb)]
    ['elbo_bar']
    """
    for cell in nb["cells"]:
        for output in cell.get("outputs", []):
            stored = "".join(output.get("data", {}).get("text/html", ""))
            if found := _STORED.match(stored):
                yield output["data"], found


def refresh(
    nb: Mapping[str, Any], present: Callable[[str], tuple[dict[str, Any], str]] | None = None
) -> int:
    """Write the present module, style and poster into each stored figure; return how many moved.

    No kernel runs. What the reader may set stays as the notebook stores it.

    Args:
        nb: a notebook as `nbformat` or `json` read it; changed in place.
        present: from a figure's name to what the package decides, not the reader: the part of the
            state that is fixed (weights, say), and the alternative text. None leaves both.

    >>> data = {"text/html": page_html("elbo_bar", {"x": 1.0}, "bars")}
    >>> nb = {"cells": [{"outputs": [{"data": data}]}]}
    >>> refresh(nb)
    0
    >>> data["text/html"] = data["text/html"].replace("function render", "function old_render")
    >>> refresh(nb), refresh(nb)
    (1, 0)
    """
    moved = 0
    for data, found in stored_figures(nb):
        old = data["text/html"]
        state, alt = _from_json(found["state"]), html.unescape(found["alt"])
        if present is not None:
            fixed, alt = present(found["figure"])
            state |= fixed
        new = page_html(found["figure"], state, alt)
        if "".join(old) == new:
            continue
        moved += 1
        data["text/html"] = new if isinstance(old, str) else new.splitlines(keepends=True)
        data.pop("image/png", None)  # the HTML holds the poster
    return moved
