"""Each citation of the book leads to an entry, and each entry is one that the book describes."""

import json
import re
from pathlib import Path

import pytest
from pybtex.database import parse_file
from pybtex.richtext import Text

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
ENTRIES = parse_file(str(BOOK / "references.bib")).entries
GUIDE = (BOOK / "bibliography.md").read_text(encoding="utf8")
SECTIONS = dict(re.findall(r"^### (.+)\n((?:(?!##).*\n)*)", GUIDE, flags=re.MULTILINE))


def plain(latex):
    return str(Text.from_latex(latex))


def slug(heading):
    """The anchor that GitHub and MyST both give to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def author_year(entry):
    """'Kingma and Welling 2014', 'Burda et al. 2016': the text of a citation."""
    names = [plain(" ".join(p.prelast_names + p.last_names)) for p in entry.persons["author"]]
    who = names[0] if len(names) == 1 else " and ".join(names)
    return f"{names[0] + ' et al.' if len(names) > 2 else who} {entry.fields['year']}"


def markdown_pages():
    """(name, text) of each page, the Markdown cells of a notebook taken together."""
    for path in sorted([*BOOK.glob("*.md"), *BOOK.glob("*.ipynb")]):
        text = path.read_text(encoding="utf8")
        if path.suffix == ".ipynb":
            cells = json.loads(text)["cells"]
            text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        yield path.name, text


PAGES = dict(markdown_pages())


@pytest.mark.parametrize("key", ENTRIES)
def test_each_entry_has_its_heading_its_title_and_its_citation(key):
    entry = ENTRIES[key]
    heading = author_year(entry)
    assert heading in SECTIONS, f"bibliography.md has no heading '### {heading}' for {key}"
    assert SECTIONS[heading].startswith(f"*{plain(entry.fields['title'])}"), heading
    assert SECTIONS[heading].count("{cite}") == 1, heading
    assert f"{{cite}}`{key}`" in SECTIONS[heading], heading


def test_each_heading_belongs_to_one_entry():
    assert sorted(SECTIONS) == sorted(author_year(entry) for entry in ENTRIES.values())
    assert len({slug(heading) for heading in SECTIONS}) == len(SECTIONS)


@pytest.mark.parametrize("page", PAGES)
def test_each_citation_leads_to_a_heading_of_the_bibliography(page):
    anchors = {slug(heading): heading for heading in SECTIONS}
    for text, anchor in re.findall(r"\[([^\]]*)\]\(bibliography\.md#([^)\s]*)\)", PAGES[page]):
        assert anchor in anchors, f"{page}: bibliography.md has no heading for #{anchor}"
        assert text == anchors[anchor], f"{page}: write [{anchors[anchor]}], not [{text}]"


@pytest.mark.parametrize("page", [name for name in PAGES if name.endswith(".ipynb")])
def test_notebooks_cite_by_links_because_colab_shows_roles_as_text(page):
    assert "{cite" not in PAGES[page]


def test_sources_named_in_docstrings_are_in_the_bibliography():
    known = {
        (plain(entry.persons["author"][0].last_names[-1]), entry.fields["year"])
        for entry in ENTRIES.values()
    }
    name = r"(?: [a-z]+)* [A-Z][\w-]+"
    named = re.compile(rf"([A-Z][\w-]+)(?:(?:,| and){name}| et al\.)* \((\d{{4}})\)")
    for path in sorted((ROOT / "vae_tutorial").rglob("*.py")):
        for block in re.findall(r"Source:(.*?)(?:\n\s*\n|\"\"\")", path.read_text("utf8"), re.S):
            for first, year in named.findall(" ".join(block.split())):
                assert (first, year) in known, f"{path.name}: {first} ({year})"


def test_what_the_guide_says_about_the_digits():
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    n, rows, columns = digits.images.shape
    levels = len(set(digits.images.ravel()))
    said = f"{n:,} images, {rows} × {columns} pixels, {levels} grey levels, from 13 writers"
    assert said in SECTIONS["Alpaydin and Kaynak 1998"]
    assert "different 13" in " ".join(digits.DESCR.split())
