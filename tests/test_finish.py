"""The last step of a build: formulas set, assets pruned, figures out of the text."""

import doctest
import importlib
import sys
from pathlib import Path

import pytest

from vae_tutorial import explore

EXT = Path(__file__).resolve().parent.parent / "book" / "_ext"
INLINE = r'<p>At <span class="math notranslate nohighlight">\(x &lt; \sigma^2\)</span>.</p>'
DISPLAY = (
    '<div class="math notranslate nohighlight" id="equation-eq-x">\n'
    '<span class="eqno">(7)<a class="headerlink" href="#equation-eq-x">#</a></span>'
    "\\[\n\\frac{a}{b}\\]</div>"
)


@pytest.fixture(scope="module", autouse=True)
def ext():
    sys.path.insert(0, str(EXT))
    yield
    sys.path.remove(str(EXT))


def module(name):
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def setter():
    made = module("typeset").Typesetter()
    yield made
    made.close()


# ------------------------------------------------------------------------------ formulas
def test_a_formula_in_a_line_is_set_and_keeps_its_words(setter):
    page = module("typeset").set_page(INLINE, setter)
    assert page.startswith('<p>At <span class="math notranslate nohighlight"><mjx-container ')
    assert "\\(" not in page
    assert r'data-tex="x &lt; \sigma^2"' in page  # to copy
    assert "<mjx-assistive-mml" in page  # to hear
    assert "<mo>&lt;</mo>" in page
    assert "<mi>σ</mi>" in page
    assert page.endswith("</span>.</p>")
    assert 'display="true"' not in page


def test_a_displayed_formula_keeps_its_number_and_can_be_reached(setter):
    page = module("typeset").set_page(DISPLAY, setter)
    head, _, rest = page.partition("<mjx-container ")
    assert head == DISPLAY.partition("\\[")[0]
    assert 'tabindex="0"' in rest
    assert 'display="true"' in rest
    assert "<mjx-frac" in rest
    assert page.endswith("</div>")


def test_what_is_set_is_left_as_it_is(setter):
    once = module("typeset").set_page(INLINE + DISPLAY, setter)
    assert module("typeset").set_page(once, setter) == once


def test_a_formula_that_is_none_ends_the_build_with_its_words(setter):
    with pytest.raises(ValueError, match=r"Undefined control sequence.*\\frob"):
        setter(r"\frob{x}", False)


def test_long_formulas_are_marked_for_narrow_places(setter):
    assert 'class="MathJax"' in setter("x", False)
    assert 'class="MathJax long"' in setter("+".join("abcdefgh"), False)
    assert ' long"' not in setter("+".join("abcdefgh"), True)  # displays scroll anyway


def test_the_cache_is_used_and_a_damaged_one_is_not(tmp_path, monkeypatch):
    typeset = module("typeset")
    cache = tmp_path / "build" / "formulas.json"
    first = typeset.Typesetter(cache)
    made = first("x^2", False)
    first.close()
    second = typeset.Typesetter(cache)
    monkeypatch.setattr(second, "_engine", lambda: pytest.fail("set again"))
    assert second("x^2", False) == made
    second.close()
    for content in ('{"version": "old", "formulas": {"Ix^2": "stale"}}', '{"version": "'):
        cache.write_text(content)
        third = typeset.Typesetter(cache)
        assert third("x^2", False) == made
        third.close()


# ------------------------------------------------------------------------------ assets
@pytest.mark.parametrize("name", ["assets", "proofs"])
def test_its_examples_hold(name):
    result = doctest.testmod(module(name))
    assert result.attempted
    assert result.failed == 0


@pytest.mark.parametrize(
    ("css", "kept"),
    [
        (".used{x:1}", ".used{x:1}"),
        (".gone{x:1}", ""),
        (".used .gone{x:1}", ""),
        (".gone,.used>a{x:1}", ".used>a{x:1}"),
        ("#gone{x:1}", ""),
        ("h2:not(.gone){x:1}", "h2:not(.gone){x:1}"),  # conservative
        (":is(.gone,.used){x:1}", ":is(.gone,.used){x:1}"),
        ("mjx-gone{x:1} mjx-used{x:1}", "mjx-used{x:1}"),
        ("@media print{.gone{x:1}}", ""),
        ("@media print{.used{x:1}}", "@media print{.used{x:1}}"),
        ("@font-face{font-family:A}", "@font-face{font-family:A}"),
        ('@charset "x"; @import "y"; /* said */ a{b:c}', "a{b:c}"),
    ],
)
def test_a_rule_goes_only_where_nothing_can_need_it(css, kept):
    assert module("assets").pruned(css, {"used", "mjx-used"}) == kept


def test_names_come_from_pages_and_from_what_scripts_may_add():
    assets = module("assets")
    page = '<a class="one two-x" id="three"><mjx-mi class="mjx-i"></mjx-mi></a>'
    assert assets.names_in_pages([page]) == {"one", "two-x", "three", "mjx-i", "mjx-mi"}
    script = "e.classList.add('show', \"col-x\"); `open ${x}`"
    assert {"show", "col-x", "open"} <= assets.names_in_scripts([script])


def test_addresses_in_a_style_sheet_lead_where_they_led():
    moved = module("assets").moved
    assert moved('a{src:url("../fonts/a.woff2#b")}', "styles", ".") == "a{src:url(fonts/a.woff2#b)}"
    assert moved("a{src:url(data:x)}", "styles", ".") == "a{src:url(data:x)}"


def test_a_font_is_cut_down_to_its_characters():
    import io

    from fontTools.ttLib import TTFont

    typeset = module("typeset")
    path = typeset.MATHJAX / typeset.FONTS / "MathJax_Main-Regular.woff"
    small = module("assets").subset(path, {ord("x"), ord("=")})
    font = TTFont(io.BytesIO(small))
    assert set(font.getBestCmap()) == {ord("x"), ord("=")}
    assert font.flavor == "woff2"
    assert len(small) < path.stat().st_size / 10
    empty = module("assets").subset(path.with_name("MathJax_Zero.woff"), {ord("x")})
    assert TTFont(io.BytesIO(empty)).getBestCmap()  # it has no x, and stays whole


# ------------------------------------------------------------------------------ figures
def test_a_figure_leaves_its_poster_and_its_data_go(tmp_path):
    stored = explore.static_html("ElboBar")
    page = module("finish").take_figures_out(f"<main>{stored}</main>", tmp_path)
    assert "<script" not in page
    assert "base64" not in page
    assert 'src="_static/posters/elbo_bar-' in page
    assert 'alt="' in page
    assert 'width="704"' in page
    (script,) = (tmp_path / "figures").iterdir()
    (poster,) = (tmp_path / "posters").iterdir()
    assert poster.read_bytes()[1:4] == b"PNG"
    text = script.read_text()
    assert text.startswith(f'vaefig("{script.stem}", {{')
    assert "export default" not in text


def test_pictures_before_the_first_section_load_at_once_and_the_others_when_they_are_near():
    page = '<img src="a"><h2>One</h2><img src="b"><img loading="eager" src="c">'
    assert module("finish").lazy(page) == (
        '<img src="a"><h2>One</h2><img loading="lazy" decoding="async" src="b">'
        '<img loading="eager" src="c">'
    )


def test_a_page_is_linked_to_one_style_sheet_and_one_script():
    page = (
        f'<html data-theme="auto"><head>\n<script>{module("finish").THEME}</script>\n'
        '<link rel="stylesheet" href="_static/a.css" />\n'
        '<link rel="preload" as="script" href="_static/b.js" />\n'
        '<link rel="search" href="search.html" />\n'
        "<script>window.MathJax = {}</script>\n<script>keep()</script>\n"
        '<script src="_static/searchtools.js"></script>\n'
        '<script defer src="_static/b.js"></script></head>BODY'
    )
    finish = module("finish")
    names = ("book-0123456789.css", "page-0123456789.js")
    linked = finish.link(page, *names)
    assert linked.count("stylesheet") == 1
    assert linked.count("<script") == 4  # what stands in the page stays, a font, and the one
    assert 'data-theme="light"' in linked  # where no script runs
    assert "prefers-color-scheme: dark" in linked  # before the first line stands
    assert "MathJax" not in linked
    assert 'rel="search"' in linked
    search = finish.link(page.replace("BODY", '<div id="search-results">'), *names)
    assert "searchtools.js" in search
    assert finish.THEME not in linked
    again = finish.link(linked, "book-9999999999.css", "page-9999999999.js")
    assert again == linked.replace("0123456789", "9999999999")
