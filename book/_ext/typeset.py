"""Formulas are set when the book is built: MathJax runs in V8, without a browser and without Node.

Each formula becomes what MathJax would have made of it in the reader's browser: its HTML, and
MathML for screen readers, with the TeX beside it for those who copy. What has been set before is
taken from a cache. There is one style sheet for all pages.
"""

import hashlib
import html
import importlib.util
import json
import re
from pathlib import Path

MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static/mathjax"
# In this order: what comes later finds what came before in one global object.
PARTS = (
    "loader.js",
    "core.js",
    "adaptors/liteDOM.js",
    "input/tex-full.js",
    "output/chtml.js",
    "output/chtml/fonts/tex.js",
    "a11y/assistive-mml.js",
)
FONTS = "output/chtml/fonts/woff-v2"
SET_UP = """
const { mathjax } = MathJax._.mathjax;
const adaptor = MathJax._.adaptors.liteAdaptor.liteAdaptor();
const handler = MathJax._.handlers.html_ts.RegisterHTMLHandler(adaptor);
MathJax._.a11y["assistive-mml"].AssistiveMmlHandler(handler);
const OUT = ["bussproofs", "require", "autoload", "noundefined", "noerrors"];
const { AllPackages } = MathJax._.input.tex.AllPackages;
const { TeXFont } = MathJax._.output.chtml.fonts.tex_ts;
const font = new TeXFont({ fontURL: "FONTS" });
const chtml = new MathJax._.output.chtml_ts.CHTML({ adaptiveCSS: false, font });
const page = mathjax.document("", {
  InputJax: new MathJax._.input.tex_ts.TeX({
    // Without those that load more, and without those that hide an error.
    packages: AllPackages.filter((name) => !OUT.includes(name)),
  }),
  OutputJax: chtml,
});
globalThis.typeset = (tex, display) => {
  const item = new page.options.MathItem(tex, page.inputJax[0], display);
  item.start.node = adaptor.body(page.document);
  item.setMetrics(16, 8, 80 * 16, 1000000, 1);
  item.convert(page);
  const width = chtml.getBBox(item, page).w;
  const node = item.typesetRoot;
  if (!display && width > LONG) adaptor.addClass(node, "long");
  return adaptor.outerHTML(node);
};
globalThis.styles = () => adaptor.textContent(chtml.styleSheet(page));
"""
LONG = 9  # em: an inline formula that may be wider than a cell, or than a list on a phone
# A formula as Sphinx writes it: in a line, or displayed and perhaps with its number.
INLINE = re.compile(r'<span class="math notranslate nohighlight">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAY = re.compile(
    r'(<div class="math notranslate nohighlight"[^>]*>\s*(?:<span class="eqno">.*?</span>)?\s*)'
    r"\\\[(.*?)\\\](\s*</div>)",
    re.DOTALL,
)
AMSMATH = re.compile(
    r'(<div class="amsmath math notranslate nohighlight"[^>]*>\s*'
    r'(?:<span class="eqno">.*?</span>)?)(.*?)(</div>)',
    re.DOTALL,
)


class Typesetter:
    """Sets formulas, each of them once.

    Args:
        cache: the file that keeps what was set, as JSON; None keeps nothing.
    """

    def __init__(self, cache=None):
        self.cache, self.context, self.new = cache, None, 0
        sizes = [(MATHJAX / part).stat().st_size for part in PARTS]
        text = f"{SET_UP}{LONG}{PARTS}{sizes}"
        self.version = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.known = {}
        if cache is not None and cache.exists():
            try:
                stored = json.loads(cache.read_text(encoding="utf8"))
            except ValueError:  # half a file: an earlier build was stopped
                stored = {}
            if stored.get("version") == self.version:
                self.known = stored["formulas"]

    def _engine(self):
        if self.context is None:
            from py_mini_racer import MiniRacer

            self.context = MiniRacer()
            self.context.eval("globalThis.global = globalThis; globalThis.MathJax = {}; 0")
            for part in PARTS:
                self.context.eval((MATHJAX / part).read_text(encoding="utf8") + "\n;0")
            self.context.eval(f"const LONG = {LONG};{SET_UP};0")
        return self.context

    def __call__(self, tex, display):
        """The HTML of a formula.

        Raises:
            ValueError: for TeX that MathJax does not understand, with its words.
        """
        key = ("D" if display else "I") + tex
        if key not in self.known:
            made = self._engine().call("typeset", tex, display)
            if fault := re.search(r'data-mjx-error="([^"]*)"', made):
                raise ValueError(f"{html.unescape(fault[1])}: in the formula {tex!r}")
            self.known[key] = made
            self.new += 1
        return self.known[key]

    def styles(self):
        """MathJax's style sheet, with every glyph; the fonts' address in it is FONTS."""
        key = "styles"
        if key not in self.known:
            self.known[key] = self._engine().call("styles")
            self.new += 1
        return self.known[key]

    def close(self):
        """Write the cache and end the engine."""
        if self.new and self.cache is not None:
            self.cache.parent.mkdir(parents=True, exist_ok=True)
            stored = {"version": self.version, "formulas": self.known}
            self.cache.write_text(json.dumps(stored, ensure_ascii=False), encoding="utf8")
        if self.context is not None:
            self.context.close()
            self.context = None


def set_page(page, typeset):
    """The text of a page with its formulas set; `typeset` is a Typesetter."""

    def made(tex, display):
        tex = html.unescape(tex).strip()
        container = typeset(tex, display)
        # The TeX travels along: a script copies it, and it can be read in the page's source. What
        # may scroll can be reached by keyboard.
        reach = 'tabindex="0" ' if display or ' long"' in container[:200] else ""
        return container.replace(
            "<mjx-container ", f'<mjx-container {reach}data-tex="{html.escape(tex)}" ', 1
        )

    page = DISPLAY.sub(lambda m: m[1] + made(m[2], True) + m[3], page)
    page = AMSMATH.sub(
        lambda m: m[0] if "<mjx-container" in m[2] else m[1] + made(m[2], True) + m[3], page
    )
    return INLINE.sub(
        lambda m: f'<span class="math notranslate nohighlight">{made(m[1], False)}</span>', page
    )
