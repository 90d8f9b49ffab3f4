"""The directive `explore`: live on an HTML page, elsewhere a poster, and never out of date."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vae_tutorial import explore
from vae_tutorial.explore import page as stored

ROOT = Path(__file__).resolve().parents[1]
COVER = "# Cover\n\nBefore.\n\n:::{explore} ElboBar\nThree bars, *one* line.\n:::\n\nAfter.\n"
GALLERY = "# Gallery\n\n:::{explore} ElboBar\n:poster: sub/chapter#a-place\n:::\n"
CONF = f"""
import sys
sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
extensions = ["myst_parser", "explore_directive"]
myst_enable_extensions = ["colon_fence"]
exclude_patterns = ["out*"]
html_theme = "basic"
"""
BUILD = """
import json, sys
from sphinx.application import Sphinx

folder, builder = sys.argv[1:]
out = f"{folder}/out-{builder}"
app = Sphinx(folder, folder, out, f"{folder}/out-trees", builder, warningiserror=False)
app.build()
print(json.dumps({
    "warnings": app._warncount,
    "files": sorted(map(str, app.env.dependencies["index"])),
}))
"""


def build(folder, builder):
    """Build the small book; returns what BUILD prints, and what Sphinx complained about."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD, str(folder), builder],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "complaints": done.stderr}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A book of three pages, built for the web and as text."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "sub").mkdir()
    toc = "\n```{toctree}\ngallery\nsub/chapter\n```\n"
    (folder / "index.md").write_text(COVER + toc)
    (folder / "gallery.md").write_text(GALLERY)
    (folder / "sub" / "chapter.md").write_text("# Chapter\n\n## A place\n")
    (folder / "conf.py").write_text(CONF)
    return folder, {builder: build(folder, builder) for builder in ("html", "text", "latex")}


def test_no_builder_complains(small):
    _, built = small
    assert {name: found["warnings"] for name, found in built.items()} == dict.fromkeys(built, 0)


def test_the_page_holds_the_figure_and_its_caption(small):
    folder, _ = small
    html = (folder / "out-html" / "index.html").read_text(encoding="utf8")
    live = explore.static_html("ElboBar")
    assert html.count(live) == 1
    figure = html[html.index('<figure class="explore') : html.index("</figure>")]
    assert figure.endswith("<figcaption><p>Three bars, <em>one</em> line.</p></figcaption>")
    assert html.index("Before.") < html.index(live) < html.index("After.")


def test_a_poster_links_to_its_page(small):
    folder, _ = small
    html = (folder / "out-html" / "gallery.html").read_text(encoding="utf8")
    found = re.search(r'<figure[^>]*>\s*<a [^>]*href="([^"]*)">(<img [^>]*>)</a>', html)
    link, picture = found.groups()
    assert link == "sub/chapter.html#a-place"
    assert 'id="a-place"' in (folder / "out-html" / "sub" / "chapter.html").read_text()
    source = re.search(r'src="([^"]*)"', picture)[1]
    assert (folder / "out-html" / source).read_bytes() == stored.poster_png("elbo_bar")
    assert len(re.search(r'alt="([^"]*)"', picture)[1]) > 80
    width, height = (int(re.search(rf'{side}="(\d+)"', picture)[1]) for side in ("width", "height"))
    assert f'width="{width}" height="{height}"' in explore.static_html("ElboBar")
    assert "<script" not in html[html.index("<figure") : html.index("</figure>")]


def test_other_builders_get_the_poster_and_the_words(small):
    folder, _ = small
    tex = next((folder / "out-latex").glob("*.tex")).read_text(encoding="utf8")
    assert tex.count("{{elbo_bar}.png}") == 2
    assert "Three bars" in tex
    assert (folder / "out-latex" / "elbo_bar.png").read_bytes() == stored.poster_png("elbo_bar")
    text = (folder / "out-text" / "index.txt").read_text(encoding="utf8")
    assert "Three bars, *one* line." in text
    assert "script" not in tex + text


def test_search_finds_the_caption_and_not_the_code(small):
    folder, _ = small
    index = (folder / "out-html" / "searchindex.js").read_text(encoding="utf8")
    assert '"bar"' in index or "bar:" in index
    assert "getboundingclientrect" not in index.lower()


def test_what_a_figure_is_made_of_is_noted(small):
    _, built = small
    names = {Path(name).name for name in built["html"]["files"]}
    assert names == {
        "elbo_bar.js", "elbo_bar.py", "elbo_bar.png", "lib.js", "host.js", "figure.css",
        "__init__.py", "figure.py", "page.py",
    }  # fmt: skip


def test_every_part_of_every_figure_is_noted():
    """No file of the figures is without a figure that depends on it."""
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    try:
        from explore_directive import dependencies
    finally:
        sys.path.pop(0)
    noted = {path for module in explore.FIGURES.values() for path in dependencies(module)}
    assert all(path.is_file() for path in noted)
    assert stored.HERE.parent / "checkpoints" / "draw_digit.npz" in noted
    here = {path for path in stored.HERE.rglob("*") if path.suffix in {".js", ".css", ".json"}}
    assert here <= noted


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        (":::{explore} Nothing\n:::", "there is no interactive figure 'Nothing': choose one of El"),
        (":::{explore} ElboBar\n:poster: lost\n:::", "is to link to 'lost', which is no page"),
        (":::{explore} ElboBar\none\n\ntwo\n:::", "the caption of ElboBar is to be one paragraph"),
    ],
)
def test_a_mistake_is_a_warning_with_its_line(tmp_path, block, complaint):
    (tmp_path / "conf.py").write_text(CONF)
    (tmp_path / "index.md").write_text(f"# Page\n\n{block}\n")
    found = build(tmp_path, "html")
    assert found["warnings"] == 1
    assert complaint in found["complaints"]
    assert "index.md:3" in found["complaints"]
