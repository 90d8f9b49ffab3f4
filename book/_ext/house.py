"""Make the built book sound: no dead code, markup that browsers and screen readers understand."""

import re
import struct
from pathlib import Path

# sphinx_thebe is always on in Jupyter Book. Without its launch button all it does is declare one
# `const` twice on each page, which is an error in the console.
UNUSED_LISTENERS = {"init_thebe_core", "update_thebe_context"}

EMPTY_HEAD = re.compile(
    r'<table class="table">\s*<thead>\s*<tr[^>]*>(?:\s*<th[^>]*>\s*(?:<p>\s*</p>)?\s*</th>)+'
    r"\s*</tr>\s*</thead>"
)
EMPTY_HEADING = re.compile(r'<th class="[^"]*">\s*(?:<p>\s*</p>)?\s*</th>')
SUMMARY = re.compile(
    r'<summary aria-label="[^"]*">\s*<p class="collapsed[^"]*">(.*?)</p>\s*'
    r'<p class="expanded[^"]*">(.*?)</p>\s*</summary>',
    re.DOTALL,
)
SOLUTION = re.compile(
    r'(<div class="cell [^"]*\btag_solution\b[^"]*">\s*<details.*?<summary>.*?'
    r"</summary>)",
    re.DOTALL,
)
# A formula, and the marks that belong to it.
MARKED_FORMULA = re.compile(
    r'(<span class="math notranslate nohighlight">[^<]*</span>[.,;:!?)\]]+)(?=[\s<])'
)
PICTURE = re.compile(r'<img (?![^>]*\bwidth=)([^>]*?)src="([^"]*_images/([^"/]+\.png))"([^>]*)>')


def png_size(path):
    """Width and height of a PNG, from its first chunk."""
    return struct.unpack(">II", path.read_bytes()[16:24])


def repair(body, pictures):
    """Mend markup that the extensions write and that a browser or a screen reader stumbles on.

    `pictures` maps the file name of a notebook's picture to its file.
    """
    # Markdown tables cannot do without a head: an empty one is a derivation, line by line.
    body = EMPTY_HEAD.sub('<table class="table derivation">', body)
    # A corner cell that heads nothing is no heading.
    body = EMPTY_HEADING.sub("<td></td>", body)
    # A paragraph may not stand in <summary>, and its label must be the words one sees.
    body = SUMMARY.sub(
        r'<summary><span class="collapsed">\1</span><span class="expanded">\2</span></summary>',
        body,
    )
    body = SOLUTION.sub(lambda m: m[1].replace("code cell content", "the solution"), body)
    # sphinx-design puts aria-controls on a <label>, where it may not be.
    body = re.sub(
        r'<label aria-controls="[^"]*" class="sd-tab-label"', '<label class="sd-tab-label"', body
    )
    # MathJax sets a formula as a box, and a line may break behind it: before a comma.
    body = MARKED_FORMULA.sub(r'<span class="keep">\1</span>', body)

    # Notebooks store their pictures at 2x: at half of it the type has its size and nothing jumps.
    def at_half_size(match):
        before, address, name, after = match.groups()
        if name not in pictures:
            return match[0]
        width, height = (side // 2 for side in png_size(pictures[name]))
        return (
            f'<img {before}src="{address}"{after.rstrip(" /")} width="{width}" height="{height}" />'
        )

    return PICTURE.sub(at_half_size, body)


def repair_page(app, pagename, templatename, context, doctree):
    """Called by Sphinx for each page, before it is written."""
    pictures = {
        name: Path(app.srcdir, source)
        for source, name in app.builder.images.items()
        if "jupyter_execute" in source
    }
    context["body"] = repair(context.get("body", ""), pictures)


def setup(app):
    """Called by Sphinx once."""
    for listeners in app.events.listeners.values():
        listeners[:] = [
            listener
            for listener in listeners
            if getattr(listener.handler, "__name__", "") not in UNUSED_LISTENERS
        ]
    app.connect("html-page-context", repair_page, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
