"""Make the built book stand on its own: MathJax from the book itself, no dead code, sound markup."""

import importlib.util
import re
import shutil
from pathlib import Path

# The part of MathJax that these pages use: one script, its fonts, TeX extensions loaded on demand.
MATHJAX = ["tex-chtml.js", "output/chtml/fonts/woff-v2", "input/tex/extensions"]

REPAIRS = [
    # sphinx-design puts aria-controls on a <label>, where it may not be.
    (re.compile(r'<label aria-controls="[^"]*" class="sd-tab-label"'), '<label class="sd-tab-label"'),
    # myst-nb puts a paragraph into <summary>, where only phrases may be.
    (re.compile(r"<summary([^>]*)>\s*<p[^>]*>(.*?)</p>\s*</summary>", re.S), r"<summary\1>\2</summary>"),
]

# sphinx_thebe is always on in Jupyter Book. Without its launch button all it does is declare one
# `const` twice on each page, which is an error in the console.
UNUSED_LISTENERS = {"init_thebe_core", "update_thebe_context"}


def copy_mathjax(app, exception):
    """Copy MathJax from its package on PyPI into the finished book."""
    if exception is not None or app.builder.format != "html":
        return
    package = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
    for part in MATHJAX:
        source = package / "static" / "mathjax" / part
        target = Path(app.outdir) / "_static" / "mathjax" / part
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)


def repair_body(app, pagename, templatename, context, doctree):
    """Mend markup that the extensions write and that a browser or a screen reader stumbles on."""
    body = context.get("body", "")
    for pattern, replacement in REPAIRS:
        body = pattern.sub(replacement, body)
    context["body"] = body


def setup(app):
    """Called by Sphinx."""
    for listeners in app.events.listeners.values():
        listeners[:] = [
            listener
            for listener in listeners
            if getattr(listener.handler, "__name__", "") not in UNUSED_LISTENERS
        ]
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    app.connect("html-page-context", repair_body, priority=900)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
