"""The last step of a build: what Sphinx has written becomes pages that open at once.

Formulas are set (typeset.py), what a page loads is made small (assets.py), and interactive figures
are taken out of the text and wait until they are near the screen (figures.js). A page can then be
read before any script has run, and without scripts at all.
"""

import base64
import functools
import re
from pathlib import Path

from vae_tutorial.explore import page as explore

import assets
import typeset

HERE = Path(__file__).parent
FIGURE = re.compile(
    r'<div class="vf" data-vaefig="\w+" data-figure="\w+">.*?<script type="module">.*?</script>',
    re.DOTALL,
)
SCRIPT = re.compile(r'[ \t]*<script\b([^>]*)\bsrc="([^"]*)"[^>]*></script>\n?')
# Only the page of the search needs these, in this order.
SEARCH = ("searchtools.js", "language_data.js", "searchindex.js")
# Settings for scripts that are bundled, or left out.
SETTING = re.compile(
    r"[ \t]*<script>(?:let toggle|var togglebutton|window\.MathJax|DOCUMENTATION_OPTIONS\.)[^<]*"
    r"</script>\n?"
)
PRELOAD = re.compile(r'[ \t]*<link rel="preload" as="script"[^>]*>\n?')
# What an extension adds to each page, and what must be on one for it to be any use.
NEEDS = {
    "togglebutton.js": 'class="[^"]*(?<![\\w-])toggle(?![\\w-])',
    "design-tabs.js": 'class="[^"]*(?<![\\w-])sd-tab-set(?![\\w-])',
    "sphinx-thebe.js": "thebe-launch-button",
    "fontawesome.js": "(?!)",  # the icons come with the font
    "tex-chtml.js": "(?!)",  # the formulas are set
}
# The theme measures every block of a page to see whether it scrolls, which lays all of it out. Ours
# looks at a block when it comes near the screen (figures.js).
MEASURES = "e.tabIndex=e.scrollWidth>e.clientWidth||e.scrollHeight>e.clientHeight?0:-1"
BUNDLE = re.compile(r"_static/(?:book|page)-[0-9a-f]{10}\.(?:css|js)")
IMAGE = re.compile(r"<img (?![^>]*\bloading=)")


def finish(app, exception):
    """Called by Sphinx when all pages are written."""
    if exception is not None or app.builder.name not in ("html", "dirhtml"):
        return
    out = Path(app.outdir)
    pages = {path: path.read_text(encoding="utf8") for path in sorted(out.glob("*.html"))}
    cache = Path(app.doctreedir).parent / ".typeset.json"
    finished = finish_pages(pages, out / "_static", cache)
    for path, page in finished.items():
        if page != pages[path]:
            path.write_text(page, encoding="utf8")


def finish_pages(pages, static, cache=None):
    """The same pages, finished; what they load is written into `static`.

    Args:
        pages: path → HTML, as Sphinx wrote it.
        static: the folder `_static` of the build.
        cache: a file that keeps formulas from one build to the next.
    """
    setter = typeset.Typesetter(cache)
    try:
        done = {path: typeset.set_page(page, setter) for path, page in pages.items()}
        formulas = setter.styles()
    finally:
        setter.close()
    done = {path: take_figures_out(page, static) for path, page in done.items()}
    done = {path: lazy(page) for path, page in done.items()}
    style = write_style(done, static, formulas)
    script = write_script(done, static)
    return {path: link(page, style, script) for path, page in done.items()}


def take_figures_out(page, static):
    """Leave the poster of each figure in its place; its data become a file of their own."""

    def out(match):
        fid, place, script, name, poster = explore.page_parts(match[0])
        for file, data in ((f"figures/{fid}.js", script.encode()), (f"posters/{name}", poster)):
            (static / file).parent.mkdir(exist_ok=True)
            (static / file).write_bytes(data)
        return place.replace(f'src="{name}"', f'src="_static/posters/{name}"')

    return FIGURE.sub(out, page)


def lazy(page):
    """Pictures behind the first heading of a section load when they come near the screen."""
    head, heading, rest = page.partition("<h2")
    return head + heading + IMAGE.sub('<img loading="lazy" decoding="async" ', rest)


# ------------------------------------------------------------------------------ style
def write_style(pages, static, formulas):
    """One style sheet for all pages, with what they can need; returns its name."""
    first = next((page for page in pages.values() if not BUNDLE.search(page)), None)
    if first is None:  # nothing was written anew
        return BUNDLE.search(next(iter(pages.values())))[0].partition("/")[2]
    scripts = [path.read_text(encoding="utf8") for path in _scripts(pages, static)]
    known = assets.names_in_pages(pages.values()) | assets.names_in_scripts(scripts)
    sheets = assets.read_styles(static, first)
    # The figures' own style stays whole: what they draw is in no page yet.
    css = assets.pruned(f"{sheets}\n{formulas}", known) + explore.style_source()
    css = _fonts_of_formulas(css, static)
    css = _fonts_of_icons(css, static)
    name = f"book-{assets.digest(css)}.css"
    (static / name).write_text(css, encoding="utf8")
    return name


FACE = re.compile(r"@font-face\s*\{[^}]*\}")


def _fonts_of_formulas(css, static):
    """MathJax's fonts: those in use, with the characters in use."""
    characters = assets.shown(css)

    def face(match):
        rule = match[0]
        if "FONTS/" not in rule:
            return rule
        family = re.search(r'font-family:\s*"?(MJX[\w-]+)', rule)[1]
        if len(re.findall(rf"\b{family}\b", css)) == 1:  # this rule alone names it
            return ""
        source = re.search(r"FONTS/([\w-]+)\.woff", rule)[1]
        data = assets.subset(typeset.MATHJAX / typeset.FONTS / f"{source}.woff", characters)
        # MJXZERO draws nothing: as the first font of each glyph it decides where the line stands.
        # It travels in the style sheet, or every line would move when it comes.
        if family == "MJXZERO":
            address = f"data:font/woff2;base64,{base64.b64encode(data).decode()}"
        else:
            address = _font(static, source, data)
        return (
            f'@font-face{{font-family:{family};src:url("{address}") format("woff2");'
            "font-display:block}"
        )

    return FACE.sub(face, css)


def _fonts_of_icons(css, static):
    """The theme's icons: the glyphs in use. A face with none of them goes."""
    characters = assets.shown(css)

    def face(match):
        rule = match[0]
        if "fontawesome/" not in rule:
            return rule
        path = static / re.search(r"url\(\"?([^\")]*\.woff2)", rule)[1]
        data = assets.subset(path, characters)
        source = f'src:url("{_font(static, path.stem, data)}") format("woff2")'
        return re.sub(r"src:[^;}]*", source, rule)

    return FACE.sub(face, css)


def _font(static, name, data):
    file = f"fonts/{name}-{assets.digest(data)}.woff2"
    (static / "fonts").mkdir(exist_ok=True)
    (static / file).write_bytes(data)
    return file


# ------------------------------------------------------------------------------ scripts
def _scripts(pages, static):
    """The scripts to bundle, in the order of the pages, as files."""
    text, found = "\n".join(pages.values()), []
    for match in SCRIPT.finditer(text):
        name = match[2].partition("?")[0]
        file = name.rpartition("/")[2]
        if "_static/" not in name or file in SEARCH or BUNDLE.search(name):
            continue
        if file in NEEDS and not re.search(NEEDS[file], text):
            continue
        path = static / name.partition("_static/")[2]
        if path not in found:
            found.append(path)
    return found


def write_script(pages, static):
    """One script for all pages; returns its name."""
    files = _scripts(pages, static)
    if not files:
        return next(m[0] for p in pages.values() for m in BUNDLE.finditer(p) if "js" in m[0])[8:]
    parts = []
    for path in files:
        text = path.read_text(encoding="utf8")
        if path.name == "pydata-sphinx-theme.js":
            if text.count(MEASURES) != 1:
                raise ValueError(f"{path.name} has changed: where does it measure what scrolls?")
            text = text.replace(MEASURES, "whenNear(e)")
        parts.append(text)
        if path.name == "documentation_options.js":
            parts.append("DOCUMENTATION_OPTIONS.search_as_you_type = false;")
    parts.append((HERE / "figures.js").read_text(encoding="utf8"))
    parts.insert(0, explore.host_source())
    text = "\n;\n".join(re.sub(r"//# sourceMappingURL=\S+", "", part) for part in parts)
    name = f"page-{assets.digest(text)}.js"
    (static / name).write_text(text, encoding="utf8")
    return name


# The theme knows whether a page is light or dark when its script has run, and half of the style
# hangs on it. Ours is known before the first line stands, and light where no script runs.
THEME = 'document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";'
EARLY = """
    document.documentElement.dataset.theme = { light: "light", dark: "dark" }[
      document.documentElement.dataset.mode
    ] || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
""".strip()


def link(page, style, script):
    """The page with one style sheet and one script, which does not keep the text waiting."""
    if BUNDLE.search(page):
        page = re.sub(r"_static/book-[0-9a-f]{10}\.css", f"_static/{style}", page)
        return re.sub(r"_static/page-[0-9a-f]{10}\.js", f"_static/{script}", page)
    searches = SCRIPT.findall(page) if 'id="search-results"' in page else []
    page = page.replace(THEME, EARLY, 1).replace(' data-theme="auto"', ' data-theme="light"', 1)
    page = SETTING.sub("", PRELOAD.sub("", SCRIPT.sub("", assets.LINK.sub("", page))))
    tags = [
        f"<script>{ZERO.format(zero())}</script>",
        f'<link rel="stylesheet" href="_static/{style}" />',
        f'<script defer src="_static/{script}"></script>',
    ]
    found = {address.partition("?")[0].rpartition("/")[2]: address for _, address in searches}
    tags += [f'<script defer src="{found[name]}"></script>' for name in SEARCH if name in found]
    return page.replace("</head>", "\n".join(["", *tags, "</head>"]), 1)


# From bytes a font is there at once; from an address, be it within the style sheet, a moment later,
# and the lines would move.
ZERO = (
    'document.fonts.add(new FontFace("MJXZERO", '
    'Uint8Array.from(atob("{}"), (c) => c.charCodeAt(0))))'
)


@functools.cache
def zero():
    """The font that draws nothing, in base64."""
    data = assets.subset(typeset.MATHJAX / typeset.FONTS / "MathJax_Zero.woff", set())
    return base64.b64encode(data).decode()


def setup(app):
    """Called by Sphinx once."""
    app.connect("build-finished", finish, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
