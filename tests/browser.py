"""Chromium for the tests: how it starts, how pages are served, what is wrong with a page.

Debian's Chromium, driven by Playwright, never downloaded. Without it the browser tests skip and say
so; with VAE_TUTORIAL_REQUIRE_BROWSER=1, as in CI, they fail instead.

Each audit is a function of a page that returns sentences, one for each fault; none means sound.
Nothing here sleeps: an audit waits until what it needs has happened.
"""

import contextlib
import functools
import gzip
import http.server
import io
import os
import shutil
import threading
import urllib.parse
from importlib.resources import files
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no test reaches the network
]
AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
TEXT = {".html", ".css", ".js", ".json", ".svg"}  # what a server compresses
ANSWER = 5_000  # milliseconds in which a figure must start, or a control answer, on a busy machine
PATIENCE = 20_000  # milliseconds in which a figure must have calculated what follows
PAPER = 718  # pixels between the margins (1 cm) of a sheet of A4, the narrower of the usual two


# ------------------------------------------------------------------------------ starting
@contextlib.contextmanager
def chromium():
    """A running headless Chromium, with a user-data folder of its own that goes with it."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        reason = "Chromium is not here: install Debian's package chromium"
        if os.environ.get("VAE_TUTORIAL_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@contextlib.contextmanager
def serve(folder, compressed=False):
    """The folder over HTTP on a free port of 127.0.0.1; yields the address, ending in '/'.

    `compressed` sends text as a web server does, in gzip.
    """

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def send_head(self):
            path = Path(self.translate_path(self.path))
            if not compressed or path.suffix not in TEXT or not path.is_file():
                return super().send_head()
            body = gzip.compress(path.read_bytes())
            self.send_response(200)
            self.send_header("Content-Type", self.guess_type(str(path)))
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return io.BytesIO(body)

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            pass  # a page that is closed while it loads

    handler = functools.partial(Quiet, directory=str(folder))
    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


_TIMING = """
(() => {
  const seen = (globalThis.__timing = { tasks: [], shift: 0 });
  const watch = (type, note) => new PerformanceObserver((list) => list.getEntries().forEach(note))
    .observe({ type, buffered: true });
  watch('longtask', (e) => seen.tasks.push([e.startTime, e.duration]));
  watch('layout-shift', (e) => { if (!e.hadRecentInput) seen.shift += e.value; });
})()
"""


def timing(context, address, slower):
    """First contentful paint and blocked time in ms, and the layout shift, of a page that opens.

    Blocked is what tasks after the first paint take beyond 50 ms each. The page is left alone until
    the main thread has been idle for a while.
    """
    page = context.new_page()
    context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
    page.add_init_script(_TIMING)
    page.goto(address)
    page.evaluate("() => new Promise((idle) => requestIdleCallback(() => setTimeout(idle, 500)))")
    seen = page.evaluate("globalThis.__timing")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    blocked = sum(max(0, length - 50) for start, length in seen["tasks"] if start >= paint - 1)
    return paint, blocked, seen["shift"]


class Watch:
    """Open a page and write down what it asks for from elsewhere, what fails and what it logs."""

    def __init__(self, context, base):
        self.base, self.found, self.files = base, [], set()
        self.page = context.new_page()
        self.page.on("request", self._request)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.found.append(f"script error: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._response)

    def _console(self, message):
        if message.type in ("warning", "error", "assert"):
            self.found.append(f"console {message.type}: {message.text}")

    def _failed(self, request):
        if not (request.failure == "net::ERR_ABORTED" and request.is_navigation_request()):
            self.found.append(f"failed request: {request.url}")

    def _response(self, response):
        if response.status >= 400:
            self.found.append(f"status {response.status}: {response.url}")

    def _request(self, request):
        if request.url.startswith(self.base):
            path = urllib.parse.urlsplit(request.url[len(self.base) :]).path
            self.files.add(urllib.parse.unquote(path))
        elif not request.url.startswith(("data:", "blob:")):
            self.found.append(f"external request: {request.url}")

    def open(self, name):
        """Go to a page of the book and wait until it has come to rest."""
        self.page.goto(self.base + name)
        settle(self.page)
        return self.page


def settle(page):
    """Start each figure; wait until fonts and pictures are in, and what moves has stopped."""
    page.evaluate(
        """async () => {
          const frame = () => new Promise(requestAnimationFrame);
          document.dispatchEvent(new Event("vaefig:all"));
          await document.fonts.ready;
          for (const e of document.images) e.loading = "eager";
          await Promise.allSettled([...document.images].map((e) => e.decode()));
          for (let i = 0; i < 2; i++) await frame();
          // Some transitions of what is not drawn never end: nobody waits long for those.
          const ends = (a) => a.effect?.getTiming().iterations !== Infinity;
          const moving = document.getAnimations().filter(ends).map((a) => a.finished);
          const enough = new Promise((done) => setTimeout(done, 1000));
          await Promise.race([Promise.allSettled(moving), enough]);
        }"""
    )
    with contextlib.suppress(_timeout()):  # a figure that does not start is found by `figures`
        page.wait_for_function(
            "!document.querySelector('div.vf[data-vaefig]:not([data-live])')", timeout=ANSWER
        )


def code(page, whole):
    """Cells whose lines are cut: at a desk none is (`whole`), on a phone 40 characters are seen."""
    return page.evaluate(
        """(whole) => [...document.querySelectorAll('div.cell_input pre')].flatMap((e) => {
          if (!e.checkVisibility()) return [];
          const probe = document.createElement('span'), style = getComputedStyle(e);
          probe.textContent = 'x'.repeat(100);
          e.append(probe);
          const one = probe.getBoundingClientRect().width / 100;
          probe.remove();
          const room = e.clientWidth - parseFloat(style.paddingLeft);
          const line = e.textContent.split('\\n')[0].slice(0, 60);
          if (whole && e.scrollWidth > e.clientWidth + 1) return [`code is cut: ${line}`];
          return whole || room / one >= 40 ? [] : [`${Math.floor(room / one)} characters: ${line}`];
        })""",
        whole,
    )


def _timeout():
    from playwright.sync_api import TimeoutError

    return TimeoutError


# ------------------------------------------------------------------------------ what one sees
def formulas(page):
    """Formulas that are not typeset, or typeset as an error."""
    return page.evaluate(
        """() => {
          const found = [];
          for (const e of document.querySelectorAll('.math'))
            if (!e.querySelector('mjx-container')) found.push('not typeset: ' + e.textContent);
          for (const e of document.querySelectorAll('mjx-merror, [data-mjx-error]'))
            found.push('error in: ' + e.textContent);
          return found;
        }"""
    )


def pictures(page):
    """Pictures that did not come, or whose alternative text is missing or a file's name."""
    return page.evaluate(
        """() => {
          const found = [];
          for (const e of document.images) {
            const first = e.outerHTML.slice(0, 120);
            if (!e.alt.trim() || /_images\\/|\\.(png|svg)$/.test(e.alt))
              found.push('no alternative text: ' + first);
            if (!e.complete || !e.naturalWidth) found.push('did not load: ' + first);
          }
          return found;
        }"""
    )


def overflow(page):
    """Elements that make the page itself scroll sideways."""
    return page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth, found = [];
          if (document.documentElement.scrollWidth <= width) return found;
          const clips = (e) => /auto|scroll|hidden|clip/.test(getComputedStyle(e).overflowX);
          for (const e of document.querySelectorAll('body *')) {
            const box = e.getBoundingClientRect();
            if (!box.width || box.right <= width + 1) continue;
            if (getComputedStyle(e).position === 'fixed') continue;
            let up = e.parentElement;
            while (up && up !== document.body && !clips(up)) up = up.parentElement;
            if (!up || up === document.body)
              found.push(`${Math.round(box.right)} > ${width}: ${e.outerHTML.slice(0, 120)}`);
          }
          return found.length ? found.slice(0, 5) : ['the page scrolls sideways'];
        }"""
    )


def headings(page):
    """Titles and headings: one h1 that the title repeats, no level left out, none empty."""
    return page.evaluate(
        """() => {
          const found = [], words = (e) => e.innerText.replace(/[#¶\\s]+$/, '').trim();
          const all = [...document.querySelectorAll('article :is(h1, h2, h3, h4, h5, h6)')];
          const tops = all.filter((e) => e.tagName === 'H1');
          if (tops.length !== 1) found.push(`${tops.length} headings of level 1`);
          if (tops.length && !document.title.startsWith(words(tops[0]).slice(0, 12)))
            found.push(`the title is ${document.title}, the heading ${words(tops[0])}`);
          let last = 0;
          for (const e of all) {
            const level = Number(e.tagName[1]);
            if (level > last + 1) found.push(`level ${level} after ${last}: ${words(e)}`);
            if (!words(e) && !e.querySelector('mjx-container')) found.push(`empty: ${e.outerHTML}`);
            last = level;
          }
          if (!document.documentElement.lang) found.push('no language');
          const about = document.querySelector('meta[name=description]');
          if (!about?.content) found.push('no description');
          return found;
        }"""
    )


def motion(page):
    """What moves by itself although the reader asked for less motion."""
    return page.evaluate(
        """() => {
          const found = document.getAnimations().filter((a) => a.playState === 'running')
            .map((a) => 'moves: ' + (a.effect?.target?.outerHTML ?? '').slice(0, 120));
          if (getComputedStyle(document.documentElement).scrollBehavior === 'smooth')
            found.push('links scroll smoothly');
          return found;
        }"""
    )


# ------------------------------------------------------------------------------ accessibility
# One element for each combination of colour, grounds, size and weight stands for its like.
_CONTRAST = """
(() => {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const mix = (colours) => {
    context.fillStyle = '#fff';
    context.fillRect(0, 0, 1, 1);
    for (const c of colours) { context.fillStyle = c; context.fillRect(0, 0, 1, 1); }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => rgb.map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const clear = 'rgba(0, 0, 0, 0)', grounds = new Map();
  const behind = (e) => {
    if (!e) return [];
    if (!grounds.has(e)) {
      const c = getComputedStyle(e).backgroundColor;
      grounds.set(e, c === clear ? behind(e.parentElement) : [...behind(e.parentElement), c]);
    }
    return grounds.get(e);
  };
  const kinds = (paper) => {
    const kinds = new Map();
    grounds.clear();
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const e = texts.currentNode.parentElement, words = texts.currentNode.data.trim();
      if (!words || !e.checkVisibility({ visibilityProperty: true })) continue;
      if (e.closest('mjx-container, script, style, [aria-hidden=true], .vf-spoken')) continue;
      const s = getComputedStyle(e), drawn = e.closest('svg') !== null;
      const kind = { element: e, drawn, colour: drawn ? s.fill : s.color, words,
        size: parseFloat(s.fontSize), bold: s.fontWeight >= 700, ground: paper ? [] : behind(e) };
      const key = [drawn, kind.colour, kind.size, kind.bold, ...kind.ground].join('|');
      if (!kinds.has(key)) kinds.set(key, kind);
    }
    return [...kinds.values()];
  };
  const faint = (paper) => kinds(paper).flatMap((k) => {
    const [a, b] = [mix(k.ground), mix([...k.ground, k.colour])].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const least = k.size >= 24 || (k.bold && k.size >= 18.6) ? 3 : 4.5;
    const text = `contrast ${ratio.toFixed(2)} of '${k.words.slice(0, 40)}'`;
    return ratio >= least ? [] : [`${text} (${k.element.parentElement.outerHTML.slice(0, 90)})`];
  });
  return { kinds, faint };
})()
"""


def contrast(page, *, paper=False):
    """Text too pale for its ground, or (`paper`) for white paper, where grounds are not printed."""
    return page.evaluate(f"(paper) => {_CONTRAST}.faint(paper)", paper)


# axe takes a time that grows with the square of a page. While it looks, formulas are put aside but
# for their size and their words, and of the coloured words in code one of each kind stays.
_THIN = """
(() => {
  const swaps = [];
  const swap = (e, thin) => { e.replaceWith(thin); swaps.push([thin, e]); };
  for (const e of document.querySelectorAll('mjx-container')) {
    const box = e.getBoundingClientRect(), thin = e.cloneNode(false);
    const inline = getComputedStyle(e).display.startsWith('inline');
    thin.append(e.querySelector('mjx-assistive-mml')?.textContent ?? '');
    thin.style.cssText += `;display:${inline ? 'inline-block' : 'block'};font-size:1px;`
      + `width:${box.width}px;height:${box.height}px;color:transparent`;
    const wide = e.querySelector('mjx-math')?.getBoundingClientRect().width ?? 0;
    if (wide > box.width) thin.style.textIndent = `${wide}px`;
    swap(e, thin);
  }
  for (const e of document.querySelectorAll('pre')) {
    const thin = e.cloneNode(true), kinds = new Set();
    for (const word of thin.querySelectorAll('span:not(:has(*))')) {
      if (kinds.has(word.className)) word.replaceWith(word.textContent);
      kinds.add(word.className);
    }
    thin.normalize();
    swap(e, thin);
  }
  return () => swaps.forEach(([thin, e]) => thin.replaceWith(e));
})()
"""


def accessibility(page, rules=None):
    """Violations that axe finds, one line each; `rules` names some of its rules in place of all.

    Contrast, by far the slowest rule, is measured on one element of each kind of text.
    """
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE)
    with contextlib.suppress(_timeout()):  # the theme looks again a moment after a change of width
        page.wait_for_function(
            """[...document.querySelectorAll('pre, .pst-scrollable-table-container')].every((e) =>
              e.scrollWidth <= e.clientWidth || e.tabIndex === 0 || !e.checkVisibility())""",
            timeout=2_000,
        )
    violations = page.evaluate(
        """async (rules) => {
          const back = THIN, options = { preload: false, resultTypes: ['violations'] };
          const some = rules ? { runOnly: rules }
            : { rules: { 'color-contrast': { enabled: false } } };
          try {
            const whole = await axe.run(document, { ...options, ...some });
            const include = CONTRAST.kinds(false).filter((k) => !k.drawn).map((k) => k.element);
            const contrast = include.length
              ? await axe.run({ include }, { ...options, runOnly: ['color-contrast'] }) : {};
            return [whole, contrast].flatMap((r) => r.violations ?? [])
              .map((v) => [v.id, v.impact, v.nodes.length, v.nodes[0].html.slice(0, 160)]);
          } finally { back(); }
        }""".replace("THIN", _THIN).replace("CONTRAST", _CONTRAST),
        rules,
    )
    found = [
        f"axe {rule} ({impact}), {count} times: {first}"
        for rule, impact, count, first in violations
    ]
    return found + contrast(page)


# ------------------------------------------------------------------------------ other readers
def without_scripts(page):
    """Faults of a page whose scripts do not run: formulas stand, figures are their posters."""
    found = page.evaluate(
        """() => {
          const found = [], first = (e) => e.outerHTML.slice(0, 120);
          const seen = (e) => e.checkVisibility() && e.getBoundingClientRect().width > 0;
          const words = (e) => /\\S/.test(e.innerText);
          // Folded text waits for a click, which needs no script; stubs have nothing to say yet.
          const waits = (e) => (e.matches('summary') ? e.parentElement.parentElement : e)
            .closest('details:not([open]), .tag_exercise > .cell_output, .tag_live-only');
          if (window.mountFigure || window.bootstrap) found.push('scripts run');
          // What is far from the screen is not laid out yet: here all of it is to be looked at.
          for (const e of document.querySelectorAll('section'))
            e.style.contentVisibility = 'visible';
          for (const e of document.querySelectorAll('article .math')) {
            const formula = e.querySelector('mjx-container[data-tex] > mjx-math');
            if (!waits(e) && !(formula && seen(formula) && e.querySelector('math')))
              found.push('a formula is not set: ' + first(e));
          }
          for (const e of document.querySelectorAll('article :is(p, h1, h2, h3, summary, pre)'))
            if (!waits(e) && /\\S/.test(e.textContent) && !(seen(e) && words(e)))
              found.push('hidden text: ' + first(e));
          for (const e of document.querySelectorAll('div.vf[data-vaefig]')) {
            const poster = e.querySelector('img');
            if (!poster || !seen(poster) || poster.getBoundingClientRect().width < 280)
              found.push('no poster: ' + e.outerHTML.slice(0, 120));
          }
          if (document.querySelector('main').innerText.length < 300) found.push('hardly any text');
          return found;
        }"""
    )
    return found + pictures(page) + overflow(page) + contrast(page)


@contextlib.contextmanager
def on_paper(page):
    """The page as it is printed: the media, the width of the sheet, and what it does for it."""
    size = page.viewport_size
    page.set_viewport_size({"width": PAPER, "height": 1000})
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    settle(page)
    yield
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    page.set_viewport_size(size)


def printed(page):
    """Faults of a page `on_paper`: folded, cut off, wider than the sheet, too pale, or not text."""
    found = page.evaluate(
        """() => {
          const found = [], width = document.documentElement.clientWidth;
          const first = (e) => e.outerHTML.slice(0, 120);
          for (const e of document.querySelectorAll('main details'))
            if ([...e.children].some((c) => c.tagName !== 'SUMMARY' && !c.checkVisibility()))
              found.push('folded: ' + first(e));
          for (const e of document.querySelectorAll('main article *')) {
            if (e.closest('mjx-math, mjx-assistive-mml, .vf-spoken, .visually-hidden')) continue;
            if (e.matches('mjx-container')) {
              const ink = e.querySelector('mjx-math')?.getBoundingClientRect().right;
              if (ink > e.getBoundingClientRect().right + 2) found.push('cut formula: ' + first(e));
            }
            if (e.closest('.math, mjx-container')) continue;
            if (!e.checkVisibility()) continue;
            const box = e.getBoundingClientRect(), s = getComputedStyle(e);
            if (box.width && box.right > width + 1)
              found.push(`${Math.round(box.right)} > ${width}: ${first(e)}`);
            if (s.overflowX !== 'visible' && e.scrollWidth > e.clientWidth + 1 && e.clientWidth)
              found.push(`cut off at ${e.clientWidth} of ${e.scrollWidth}: ${first(e)}`);
            if (s.overflowY !== 'visible' && e.scrollHeight > e.clientHeight + 8 && e.clientHeight)
              found.push(`cut off below: ${first(e)}`);
          }
          const chrome = '.bd-sidebar-primary, .bd-sidebar-secondary, .prev-next-area, .copybtn, '
            + '.headerlink, .bd-header-article button, .vf-control, .search-button-field, '
            + '#pst-back-to-top';
          for (const e of document.querySelectorAll(chrome))
            if (e.checkVisibility({ visibilityProperty: true }) && e.getBoundingClientRect().width)
              found.push('has no use on paper: ' + first(e));
          for (const e of document.querySelectorAll('article summary'))
            if (e.checkVisibility() && /^(Show|Hide)\\b/.test(e.innerText.trim()))
              found.push('nothing to press on paper: ' + first(e));
          if (!document.querySelector('article h1')?.checkVisibility()) found.push('no heading');
          return found;
        }"""
    )
    return found + formulas(page) + contrast(page, paper=True)


def search(page, word):
    """Type a word into the page's own search box; returns the names of the pages it finds."""
    page.keyboard.press("Control+k")
    page.locator("#pst-search-dialog input[type=search]").fill(word)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=*")
    page.wait_for_function(
        "/found|did not match/.test(document.getElementById('search-results')?.innerText)"
    )
    links = page.locator("#search-results ul.search li > a")
    urls = [urllib.parse.urlsplit(a.get_attribute("href")) for a in links.all()]
    return [url.path.rsplit("/", 1)[-1].removesuffix(".html") for url in urls]


@functools.cache
def weight(path):
    """Bytes of a file as a server sends it: text compressed."""
    data = path.read_bytes()
    return len(gzip.compress(data, 6)) if path.suffix in TEXT else len(data)


# ------------------------------------------------------------------------------ figures
_FIGURES = """
window.audit ??= (() => {
  const all = () => [...document.querySelectorAll('div.vf[data-live]')];
  // What a figure shows: text, marks and pixels, but neither where its controls stand (a slider
  // that moves and does nothing is a fault) nor what it says to a screen reader a moment later.
  const shows = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches('.vf-row, .vf-spoken')) return '';
    const own = node.tagName === 'CANVAS' ? node.toDataURL() : '';
    const marks = [...node.attributes].map((a) => a.value);
    return [own, ...marks, ...[...node.childNodes].map(shows)].join('|');
  };
  const busy = (e) => [...e.querySelectorAll('[data-term]')].some((t) => t.textContent === '…');
  const rest = (patience) => new Promise((done) => {
    // A page that a finger has pushed rolls on for a while: that is no rest either.
    const began = performance.now(), state = () => [scrollY, ...all().map(shows)].join();
    let last = state(), since = began;
    const look = () => {
      const now = performance.now(), is = state();
      if (is !== last) [last, since] = [is, now];
      if (now - since >= 200 && !all().some(busy)) done(true);
      else if (now - began > patience) done(false);
      else setTimeout(look, 40);
    };
    look();
  });
  let kept = [];
  return {
    rest, keep() { kept = all().map(shows); },
    changed: () => all().flatMap((e, i) => (shows(e) === kept[i] ? [] : [i])),
    middle(e) { e.scrollIntoView({ block: 'center', behavior: 'instant' }); },
  };
})();
"""


def figures(page):
    """The live figures of the page, as (name, locator); and what is wrong with the others."""
    page.evaluate(_FIGURES)
    live = page.locator("div.vf[data-live]")
    found = [f"not alive: {n}" for n in names(page, "div.vf[data-vaefig]:not([data-live])")]
    found += [f"fell back to its poster: {n}" for n in names(page, "div.vf[data-live]:has(> img)")]
    return list(zip(names(page, "div.vf[data-live]"), live.all(), strict=True)), found


def names(page, selector):
    return page.evaluate(
        "(s) => [...document.querySelectorAll(s)].map((e) => e.dataset.figure)", selector
    )


def shown(page, key, index=0):
    """What a figure shows for a term, with the minus sign that Python writes."""
    return page.locator(f'[data-term="{key}"]').nth(index).inner_text().replace("−", "-")


def term(page, key, index=0):
    """The number that a figure shows for a term."""
    return float(shown(page, key, index).removeprefix("> "))


def centre(locator):
    """The middle of an element, in pixels of the window."""
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, start, dx, dy):
    """Press the mouse, move it, let it go."""
    x, y = start
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=6)
    page.mouse.up()


def finger(page, start, dx, dy):
    """Put a finger down, move it, lift it."""
    touch = page.context.new_cdp_session(page)
    x, y = start
    path = [(x + dx * k / 6, y + dy * k / 6) for k in range(7)] if dx or dy else [start]
    for k, (a, b) in enumerate(path):
        kind = "touchMove" if k else "touchStart"
        points = [{"x": a, "y": b}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    touch.detach()


class Hand:
    """Operates the figures of a page in one way and writes down what does not answer."""

    def __init__(self, page):
        self.page, (self.figures, self.found) = page, figures(page)

    def answers(self, index, act, *, patience=None):
        """Whether figure `index`, and no other, shows something else once `act` is done."""
        if not self.page.evaluate("(ms) => audit.rest(ms)", PATIENCE):
            self.found.append(f"{self.figures[index][0]} does not come to rest")
        self.page.evaluate("audit.keep()")
        address, place = self.page.url, self.page.evaluate("scrollY")
        act()
        with contextlib.suppress(_timeout()):
            self.page.wait_for_function("audit.changed().length > 0", timeout=patience or ANSWER)
        changed = self.page.evaluate("audit.changed()")
        for other in set(changed) - {index}:
            self.found.append(f"figure {other} moves with figure {index}")
        if self.page.url != address or abs(self.page.evaluate("scrollY") - place) > 1:
            self.found.append(f"{self.figures[index][0]}: the page moves as well")
        return index in changed

    def expect(self, index, control, how, act):
        if not self.answers(index, act):
            words = control.evaluate("e => e.ariaLabel || e.dataset.handle || e.textContent")
            self.found.append(f"{self.figures[index][0]}: '{words}' does not answer to {how}")

    def controls(self, figure, selector):
        return [e for e in figure.locator(selector).all() if e.is_visible() and e.is_enabled()]

    def pointers(self, how):
        """Every slider, handle and pad, by mouse or by finger."""
        move = drag if how == "a mouse" else finger
        for index, (_, figure) in enumerate(self.figures):
            for control in self.controls(
                figure, "input[type=range], .vf-handle, [role=application]"
            ):
                self._reach(control)
                self.expect(index, control, how, functools.partial(self._push, control, move))
        return self.found

    def _reach(self, control):
        self.page.evaluate("(ms) => audit.rest(ms)", PATIENCE)
        control.evaluate("e => audit.middle(e)")

    def _push(self, control, move):
        x, y = centre(control)
        if control.get_attribute("type") != "range":
            # Some leave the vertical finger to the page, so that one can scroll past them.
            pans = control.evaluate("e => getComputedStyle(e).touchAction") == "pan-y"
            return move(self.page, (x, y), 25, 0 if pans else 30)
        # A slider goes where it is pressed: to the other side of its middle.
        at = control.evaluate("e => (e.value - e.min) / ((e.max || 100) - e.min)")
        return move(
            self.page, (x + control.bounding_box()["width"] * (0.5 - round(at)) / 2, y), 0, 0
        )

    def keys(self):
        """Every slider and pad by its arrow keys, buttons by Enter, all of them by Tab."""
        press = self.page.keyboard.press
        for index, (name, figure) in enumerate(self.figures):
            all_ = self.controls(figure, "input[type=range], [role=application], button")
            all_[0].focus()
            for control in all_[1:]:
                press("Tab")
                if not control.evaluate("e => e === document.activeElement"):
                    words = control.evaluate("e => e.ariaLabel || e.textContent")
                    self.found.append(f"{name}: Tab does not lead to '{words}'")
                    break
                if not control.evaluate(
                    "e => parseFloat(getComputedStyle(e).outlineWidth) >= 2 "
                    "&& getComputedStyle(e).outlineStyle !== 'none'"
                ):
                    self.found.append(f"{name}: one does not see where the focus is")
            for control in self.controls(figure, "input[type=range], [role=application]"):
                self._reach(control)
                control.focus()
                full = control.evaluate("e => e.type === 'range' && e.value === e.max")
                key = "ArrowLeft" if full else "ArrowRight"
                self.expect(index, control, key, functools.partial(press, key))
            self._buttons(index, figure)
        return self.found

    def _buttons(self, index, figure):
        buttons = self.controls(figure, "button")
        if len(buttons) > 5:  # the others are of the same kinds
            buttons = buttons[:3] + buttons[-2:]
        for button in buttons:

            def enter(button=button):
                button.focus()
                self.page.keyboard.press("Enter")

            self._reach(button)
            if not self.answers(index, enter, patience=500):
                # It may have had nothing to do: give it something.
                for control in self.controls(figure, "input[type=range], [role=application]"):
                    drag(self.page, centre(control), 20, 25)
                self.expect(index, button, "Enter", enter)
            if not self.page.evaluate("(ms) => audit.rest(ms)", 3_000):
                enter()  # what a button starts, it stops
