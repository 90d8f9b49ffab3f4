"""What a page loads besides its text, made small: one style sheet, one script, the glyphs in use.

The theme brings 560 KB of style for every page that could be written, 15 scripts, and three fonts
of icons. The finished pages say what is needed: classes that occur in no page and in no script are
no use, and neither are glyphs that nothing shows. States that a script adds (an open dialog, a
menu) are kept, since the script names them.
"""

import hashlib
import io
import logging
import posixpath
import re

import tinycss2

LINK = re.compile(r'[ \t]*<link\b[^>]*\brel="stylesheet"[^>]*>\n?')
HREF = re.compile(r'href="([^"?]*)')
URL = re.compile(r"url\(\s*['\"]?([^'\")]+)['\"]?\s*\)")
NEVER = ("sphinx-thebe.css",)  # thebe's launch button is off
CONTENT = re.compile(r'content:\s*"((?:[^"\\]|\\.)*)"')


# ------------------------------------------------------------------------------ what is in use
def names_in_pages(pages):
    """Classes, ids and elements of the pages."""
    found = set()
    for page in pages:
        for value in re.findall(r'\b(?:class|id)="([^"]*)"', page):
            found.update(value.split())
        found.update(re.findall(r"<(mjx-[\w-]+)", page))
    return found


def names_in_scripts(scripts):
    """Words in the strings of scripts: what they may add to a page."""
    found = set()
    for script in scripts:
        for string in re.findall(r"\"([^\"\n]*)\"|'([^'\n]*)'|`([^`]*)`", script):
            found.update(re.findall(r"[\w-]+", "".join(string)))
    return found


# ------------------------------------------------------------------------------ style
def _needed(selector, known):
    """Whether all classes, ids and mjx elements that a selector asks for are known."""
    tokens = [token for token in selector if token.type != "whitespace"]
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "hash" and token.value not in known:
            return False
        if token.type == "ident":
            of_class = before is not None and before == "."
            if (of_class or token.value.startswith("mjx-")) and token.value not in known:
                return False
    return True  # what stands in :not(…) or :is(…) is not looked at: kept


def _selectors(prelude):
    part = []
    for token in prelude:
        if token == ",":
            yield part
            part = []
        else:
            part.append(token)
    yield part


def pruned(css, known):
    """A style sheet without the rules that no page and no script can need.

    >>> pruned(".a{x:1} .b,.a .c{x:2} @media print{.b{x:3}} h1{x:4}", {"a", "c"})
    '.a{x:1}.a .c{x:2}h1{x:4}'
    """
    return "".join(_kept(tinycss2.parse_stylesheet(css, True, True), known))


def _kept(rules, known):
    for rule in rules:
        if rule.type == "qualified-rule":
            kept = [s for s in _selectors(rule.prelude) if _needed(s, known)]
            if kept:
                head = ",".join(tinycss2.serialize(selector).strip() for selector in kept)
                yield f"{head}{{{tinycss2.serialize(rule.content).strip()}}}"
        elif rule.type == "at-rule" and rule.at_keyword in ("media", "supports", "layer"):
            if rule.content is None:
                continue
            inner = "".join(_kept(tinycss2.parse_rule_list(rule.content, True, True), known))
            if inner:
                head = tinycss2.serialize(rule.prelude).strip()
                yield f"@{rule.at_keyword} {head}{{{inner}}}"
        elif rule.type == "at-rule" and rule.at_keyword not in ("import", "charset"):
            yield tinycss2.serialize([rule])


def moved(css, old, new):
    """The same style sheet in another folder: addresses in it lead where they led."""

    def address(match):
        target = match[1]
        if target.startswith(("data:", "#", "/")) or ":" in target:
            return match[0]
        path, hash_sign, rest = target.partition("#")
        path = posixpath.relpath(posixpath.normpath(posixpath.join(old, path)), new)
        return f"url({path}{hash_sign}{rest})"

    return URL.sub(address, css)


def read_styles(static, page):
    """The style sheets that a page links, in their order, as one text that lives in `static`."""
    parts = []
    for link in LINK.findall(page):
        name = HREF.search(link)[1].partition("_static/")[2]
        if not name or name.endswith(NEVER):
            continue
        path = static / name
        text = path.read_text(encoding="utf8")
        folder = posixpath.dirname(name)
        for imported in re.findall(r'@import "([^"]+)"', text):
            target = posixpath.normpath(posixpath.join(folder, imported))
            parts.append(moved((static / target).read_text(encoding="utf8"), "", ""))
        parts.append(moved(text, folder or ".", "."))
    return "\n".join(parts)


# ------------------------------------------------------------------------------ fonts
def subset(path, characters):
    """A font with these characters only, as WOFF2."""
    from fontTools import subset as fonts
    from fontTools.ttLib import TTFont

    logging.getLogger("fontTools").setLevel(logging.ERROR)
    options = fonts.Options(flavor="woff2", layout_features=["*"], notdef_outline=True)
    options.drop_tables += ["FFTM"]
    font = TTFont(path)
    if characters & set(font.getBestCmap()):  # MathJax's Zero has nothing to show: it stays
        tool = fonts.Subsetter(options)
        tool.populate(unicodes=characters)
        tool.subset(font)
    font.flavor = "woff2"
    out = io.BytesIO()
    font.save(out)
    return out.getvalue()


def shown(css):
    """The characters that the rules of a style sheet show by themselves: glyphs and icons.

    >>> sorted(map(chr, shown('a{content:"\\\\66 x"} b{content:"§"}')))
    ['f', 'x', '§']
    """
    found = set()
    for string in CONTENT.findall(css):
        plain = re.sub(r"\\([0-9a-fA-F]{1,6}) ?", lambda m: chr(int(m[1], 16)), string)
        found.update(map(ord, plain.replace("\\", "")))
    return found


def digest(data):
    """A short name for a content: an address that changes with it can be cached for ever."""
    return hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()[:10]
