"""Each row of the five texts has a section and something that checks it, and readers find both.

`source_rows.txt` says which; its head explains the fields. The rules are functions of what they
look at, so that each of them is tried on a planted fault.
"""

import ast
import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from vae_tutorial import checks

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT.parent / "shared" / "design" / "SOURCES.md"  # the long list, where it lies near by

# How many rows each text has, and the letters of its errata.
COUNTS = {"0": 14, "2": 17, "3": 24, "4": 22}
LETTERS = {"0": "q", "2": "p", "3": "z", "4": "z"}
CHAPTERS = [f"{n:02d}" for n in range(14)]
STATES = {"done", "begun", "to come"}
ERRATUM_STATES = STATES | {"open", "dropped"}


def letters(last):
    return [chr(code) for code in range(ord("a"), ord(last) + 1)]


IDS = [f"{text}.{n}" for text, count in COUNTS.items() for n in range(1, count + 1)]
ERRATA = [
    f"{text}{letter}"
    for text, last in LETTERS.items()
    for letter in letters(last) + (["A", "B"] if text == "3" else [])
]


# ------------------------------------------------------------------------------ what is looked at
@dataclass(frozen=True)
class Row:
    """One line of `source_rows.txt`."""

    id: str
    kind: str
    chapters: tuple
    state: str
    where: tuple
    checked: tuple
    about: str

    @property
    def erratum(self):
        return "." not in self.id


def parse(text):
    """The rows, and what is wrong with lines that are none."""
    rows, found = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split(" | ")]
        if len(fields) != 7 or not all(fields):
            found.append(f"line {number} has {len(fields)} fields, not 7 that are filled")
            continue
        name, kind, chapters, state, where, checked, about = fields
        many = ["" if field == "-" else field for field in (chapters, where, checked)]
        inside = [tuple(part.strip() for part in many[2].split(" ; ") if part)]
        rows.append(
            Row(name, kind, tuple(many[0].split()), state, tuple(many[1].split()), *inside, about)
        )
    return rows, found


def anchor(heading):
    """The anchor that MyST gives to a heading, from the text of it that is neither code nor math.

    A second heading with the same anchor would get a number; `place_problems` allows none.
    """
    text = re.sub(r"\$[^$]*\$", "", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


@dataclass(frozen=True)
class Page:
    """A page: its Markdown, the Markdown under each heading, and what a notebook shows."""

    text: str
    headings: tuple = ()  # (anchor, heading, the text below it)
    names: frozenset = frozenset()  # claims and rows that were printed with ✓, figures, functions

    @property
    def anchors(self):
        return {a for a, _, _ in self.headings}

    def below(self, wanted):
        return next(text for a, _, text in self.headings if a == wanted)


def sections(text):
    """(anchor, heading, all that stands below it) for each heading, code aside."""
    lines, at, fenced = text.splitlines(), [], False
    for n, line in enumerate(lines):
        fenced ^= line.startswith("```")
        heading = None if fenced else re.fullmatch(r"(#{1,3}) (.+?)\s*", line)
        if heading:
            at.append((n, len(heading[1]), heading[2]))
    ends = [next((m for m, k, _ in at if m > n and k <= level), len(lines)) for n, level, _ in at]
    return tuple(
        (anchor(heading), heading, "\n".join(lines[n + 1 : end]))
        for (n, _, heading), end in zip(at, ends, strict=True)
    )


def read_page(path):
    text = path.read_text(encoding="utf8")
    if path.suffix == ".md":
        return Page(text, sections(text))
    names, prose = set(), []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            prose.append(source)
            continue
        names |= set(re.findall(r"^def (\w+)", source, re.MULTILINE))
        figure = cell["metadata"].get("mystnb", {}).get("figure", {})
        names |= {figure["name"]} if "name" in figure else set()
        for output in cell["outputs"]:
            lines = "".join(output.get("text", "")).splitlines()
            names |= {m[1] for line in lines if (m := re.match(r"✓  (.+): \S+ ± \S+$", line))}
            table = "".join(output.get("data", {}).get("text/plain", "")).splitlines()
            if table and table[-1].startswith("✓  "):  # a claim_table: each row's label is a name
                names |= {re.split(r"\s{2,}", line)[0] for line in table[1:-1]}
    text = "\n\n".join(prose)
    return Page(text, sections(text), frozenset(name.strip() for name in names))


def defined_tests(path):
    """The tests in a file, as `test_x` or `TestClass::test_x`."""
    tree = ast.parse(path.read_text(encoding="utf8"))
    inside = [(tree, "")]
    inside += [(c, f"{c.name}::") for c in tree.body if isinstance(c, ast.ClassDef)]
    return {
        prefix + node.name
        for parent, prefix in inside
        for node in parent.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@dataclass(frozen=True)
class Book:
    """All that the rules look at."""

    rows: str
    crosswalk: str
    pages: dict  # by the name without its ending
    tests: dict  # by the name of the file
    exercises: frozenset

    @property
    def parsed(self):
        return parse(self.rows)[0]

    @property
    def written(self):
        return {name[:2] for name in self.pages if name[:2] in CHAPTERS}


def read_book():
    paths = sorted(p for p in (ROOT / "book").iterdir() if p.suffix in {".md", ".ipynb"})
    return Book(
        rows=(ROOT / "tests" / "source_rows.txt").read_text(encoding="utf8"),
        crosswalk=(ROOT / "book" / "crosswalk.md").read_text(encoding="utf8"),
        pages={path.stem: read_page(path) for path in paths},
        tests={path.name: defined_tests(path) for path in (ROOT / "tests").glob("test_*.py")},
        exercises=frozenset(name for name in vars(checks) if callable(getattr(checks, name))),
    )


BOOK = read_book()


# ------------------------------------------------------------------------------ rules
def list_problems(book):
    """The list is whole: every id once and in order, every field with an allowed value."""
    rows, found = parse(book.rows)
    ids = [row.id for row in rows]
    found += [f"{name} stands {n} times" for name, n in Counter(ids).items() if n > 1]
    found += [f"{name} is missing" for name in IDS + ERRATA if name not in ids]
    found += [f"{name} is no id" for name in ids if name not in IDS + ERRATA]
    if not found and ids != IDS + ERRATA:
        found.append("the ids are out of order")
    for row in rows:
        kinds, states = ("MKCNP", ERRATUM_STATES) if row.erratum else ("CEFMDXT", STATES)
        if not re.fullmatch(f"[{kinds}](/[{kinds}])*", row.kind):
            found.append(f"{row.id}: kind {row.kind}")
        if row.state not in states:
            found.append(f"{row.id}: state {row.state}")
        found += [f"{row.id}: chapter {c}" for c in row.chapters if c not in CHAPTERS]
    return found


def state_problems(book):
    """The state says what is written: a chapter that has come must take up its rows."""
    found = []
    for row in book.parsed:
        here = {place[:2] for place in row.where} & set(CHAPTERS)
        written = set(row.chapters) & book.written
        if not row.chapters and row.state != "dropped":
            found.append(f"{row.id}: no chapter")
        if row.state == "to come" and written:
            found.append(f"{row.id}: to come, but {min(written)} is written")
        if row.state == "begun" and written == set(row.chapters):
            found.append(f"{row.id}: begun, but all of its chapters are written")
        if row.state in {"done", "begun"}:
            found += [f"{row.id}: no section in {c}" for c in sorted(written - here)]
            found += [
                f"{row.id}: {c} is not one of its chapters"
                for c in sorted(here - set(row.chapters))
            ]
            if not row.where:
                found.append(f"{row.id}: {row.state}, but nowhere")
            if not row.checked:
                found.append(f"{row.id}: nothing checks it")
        elif row.where or row.checked:
            found.append(f"{row.id}: {row.state}, but with a place or a check")
    return found


def place_problems(book):
    """Each section that is named is a heading of that page, and the only one of its kind."""
    found = []
    for row in book.parsed:
        for place in row.where:
            name, _, wanted = place.partition("#")
            if name not in book.pages:
                found.append(f"{row.id}: there is no page {name}")
            elif (n := [a for a, _, _ in book.pages[name].headings].count(wanted)) != 1:
                found.append(f"{row.id}: {name} has {n} headings with the anchor {wanted}")
    return found


def check_problems(book):
    """What is said to check a row exists; an erratum has the note or the exercise that is named."""
    found = []
    for row in book.parsed:
        if row.erratum:
            found += _erratum_problems(row, book)
            continue
        for check in row.checked:
            file, _, name = check.partition("::")
            if check.startswith("checks."):
                known = check.removeprefix("checks.") in book.exercises
            elif file.startswith("tests/"):
                known = name in book.tests.get(file.removeprefix("tests/"), ())
            else:
                page = book.pages.get(Path(file).stem) if file.startswith("book/") else None
                known = page is not None and name in page.names
            if not known:
                found.append(f"{row.id}: there is no {check}")
    return found


_MARGIN = re.compile(r"^(?:<aside class=\"margin\">|:::\{margin\})", re.M)


def _erratum_problems(row, book):
    ways = set(" ".join(row.checked).split())
    found = [f"{row.id}: taken up by {way}" for way in ways - {"margin", "exercise", "text"}]
    places = [place.partition("#")[::2] for place in row.where]
    places = [(p, a) for p, a in places if p in book.pages and a in book.pages[p].anchors]
    exercises = [(p, a) for p, a in places if a.startswith("exercise-")]
    noted = [(p, a) for p, a in places if _MARGIN.search(book.pages[p].below(a))]
    if ("exercise" in ways) != bool(exercises):
        found.append(
            f"{row.id}: an exercise is named, and its place is none, or the other way round"
        )
    if "margin" in ways and not noted:
        found.append(f"{row.id}: no margin note stands there")
    return found


ENTRY = re.compile(r"^\| <!-- ([\d. ]+) --> (.+?) \| (.+) \|$")
LINK = re.compile(r"\[([^\]]+)\]\(([\w]+)\.(md|ipynb)#([^)\s]+)\)")


def page_problems(book):
    """Readers find each row once, with a link to its first section, or with the words "to come"."""
    found, seen = [], Counter()
    rows = {row.id: row for row in book.parsed}
    for line in book.crosswalk.splitlines():
        entry = ENTRY.match(line)
        if line.startswith("|") and not entry and line not in {"| there | here |", "|---|---|"}:
            found.append(f"no row is named in {line[:40]}")
        if not entry:
            continue
        ids, _, here = entry.groups()
        links = {f"{page}#{a}" for _, page, _, a in LINK.findall(here)}
        sections_of = set()
        for name in ids.split():
            seen[name] += 1
            if name not in rows:
                found.append(f"crosswalk: {name} is no row")
                continue
            row = rows[name]
            sections_of |= set(row.where)
            if row.where and row.where[0] not in links:
                found.append(f"crosswalk: {name} has no link to {row.where[0]}")
            if row.state != "done" and "to come" not in here.lower():
                found.append(f"crosswalk: {name} is {row.state}, and does not say so")
        found += [
            f"crosswalk: {ids} leads to {link} besides" for link in sorted(links - sections_of)
        ]
        found += _link_problems(ids, here, book)
    found += [f"crosswalk: {name} stands {n} times" for name, n in seen.items() if n > 1]
    found += [f"crosswalk: {name} is missing" for name in IDS if name in rows and name not in seen]
    return found


def _link_problems(ids, here, book):
    """The number that one reads is that of the section that one gets."""
    found = []
    if here.count("](") != len(LINK.findall(here)):
        found.append(f"crosswalk: {ids} has a link without an anchor")
    for words, name, ending, wanted in LINK.findall(here):
        number = re.fullmatch(r"(exercise )?(\d+)([a-z]?)\.(\d+)", words)
        chapter = name[:2] in CHAPTERS
        start = wanted
        if number and number[1]:
            in_title = number[2] if number[3] else f"{int(number[2]):02d}"
            start = f"exercise-{in_title}{number[3]}{number[4]}--"
        elif number:
            start = f"{number[2]}{number[3]}{number[4]}--"
        if chapter != bool(number) or not wanted.startswith(start):
            found.append(f"crosswalk: {ids} says {words} and leads to {name}#{wanted}")
        elif (ending == "ipynb") != chapter:
            found.append(f"crosswalk: {ids} leads to {name}.{ending}")
        elif chapter and int(name[:2]) != int(number[2]):
            found.append(f"crosswalk: {ids} says {words} and leads to chapter {name[:2]}")
    return found


RULES = [list_problems, state_problems, place_problems, check_problems, page_problems]


# ------------------------------------------------------------------------------ tests
@pytest.mark.parametrize("rule", RULES)
def test_the_rows(rule):
    assert rule(BOOK) == []


def test_how_many_there_are():
    assert len(IDS) == 77
    assert len(ERRATA) == 87
    assert len(BOOK.parsed) == len(IDS) + len(ERRATA)


def test_the_list_is_that_of_the_design():
    if not SOURCES.exists():
        pytest.skip("the design notes are not beside this repository: nothing to compare with")
    part_a, part_b = SOURCES.read_text(encoding="utf8").split("\n## B. ")
    kind = r"([A-Z](?:/[A-Z])*)"
    theirs = dict(re.findall(rf"^\| (\d\.\d+) \| {kind} \|", part_a, re.MULTILINE))
    theirs |= dict(re.findall(rf"^\| (\d[a-zA-Z]) \| {kind} \|", part_b, re.MULTILINE))
    assert {row.id: row.kind for row in BOOK.parsed} == theirs


@pytest.mark.parametrize("page", BOOK.pages)
def test_anchors_are_those_of_myst(page):
    myst = pytest.importorskip("myst_parser.mdit_to_docutils.base")
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    tree = SyntaxTreeNode(MarkdownIt().use(dollarmath_plugin).parse(BOOK.pages[page].text))
    headings = [n for n in tree.walk() if n.type == "heading" and n.tag in {"h1", "h2", "h3"}]
    theirs = [myst.compute_unique_slug(node, ()) for node in headings]
    assert [a for a, _, _ in BOOK.pages[page].headings] == theirs


def test_the_crosswalk_says_in_two_sentences_how_to_use_it():
    opening = BOOK.crosswalk.split("\n\n")[1]
    assert "find its table" in opening
    assert "follow the number" in opening
    assert "00_start.ipynb#where-this-book-comes-from" in opening
    assert "where-this-book-comes-from" in BOOK.pages["00_start"].anchors


# ------------------------------------------------------------------------------ planted faults
# A small world in which all is well, so that no change of the book can make these tests blind.
SMALL = Book(
    rows="""
0.1 | E | 04 07 | done | 04_bound#41--a-way 07_model#71--a-model | tests/test_a.py::test_one | x
0.2 | C/F | 04 | done | 04_bound#41--a-way identities#the-sum | book/04_bound.ipynb::fig-way | x
0.3 | X | 04 09 | begun | 04_bound#exercise-041--order | checks.top ; tests/test_a.py::A::test_2 | x
0.4 | T | 09 | to come | - | - | x
2.1 | T | 07 10 | done | 07_model#71--a-model | book/07_model.ipynb::too good by, nats | x
0a | M | 04 | done | 04_bound#41--a-way 04_bound#exercise-041--order | margin exercise | x
0b | K | 09 | to come | - | - | x
0c | P | - | dropped | - | - | x
""",
    crosswalk="""
| there | here |
|---|---|
| <!-- 0.1 --> a | [4.1](04_bound.ipynb#41--a-way), [7.1](07_model.ipynb#71--a-model) |
| <!-- 0.2 --> b | [4.1](04_bound.ipynb#41--a-way), see [the sum](identities.md#the-sum) |
| <!-- 0.3 --> c | [exercise 4.1](04_bound.ipynb#exercise-041--order). To come: chapter 9 |
| <!-- 0.4 --> d | to come: chapter 9 |
| <!-- 2.1 --> e | [7.1](07_model.ipynb#71--a-model) |
""",
    pages={
        name: Page(text, sections(text), frozenset(names))
        for name, text, names in [
            (
                "04_bound",
                '## 4.1 · A way\n<aside class="margin">\n</aside>\n### Exercise 04.1 · Order',
                ["fig-way"],
            ),
            ("07_model", "## 7.1 · A model\n```\n## no heading\n```", ["too good by, nats"]),
            ("identities", "## The sum", []),
        ]
    },
    tests={"test_a.py": {"test_one", "A::test_2"}},
    exercises=frozenset({"top"}),
)


def in_rows(old, new):
    return lambda book: replace(book, rows=_changed(book.rows, old, new))


def in_page(old, new):
    return lambda book: replace(book, crosswalk=_changed(book.crosswalk, old, new))


def _changed(text, old, new):
    assert old in text
    return text.replace(old, new, 1)


def with_page(name, text):
    return lambda book: replace(book, pages={**book.pages, name: Page(text, sections(text))})


def without(name):
    """A line of the real list is lost."""
    return in_rows(
        next(line for line in BOOK.rows.splitlines() if line.startswith(f"{name} | ")), ""
    )


PLANTED = [
    # In the real list.
    (list_problems, without("4.22"), "4.22 is missing"),
    (list_problems, without("3B"), "3B is missing"),
    (list_problems, in_rows("\n3.9 | ", "\n3.8 | "), "3.8 stands 2 times"),
    (list_problems, in_rows("\n2.1 | ", "\n2.18 | "), "2.18 is no id"),
    (list_problems, in_rows("\n3.9 | E", "\n3.9 | Q"), "3.9: kind Q"),
    (list_problems, in_rows("\n3.9 | E | 03", "\n3.9 | E | 14"), "3.9: chapter 14"),
    (list_problems, in_rows("\n3.9 | E | ", "\n3.9 | E  "), "has 6 fields"),
    (list_problems, in_rows(" | done | ", " | almost | "), ": state almost"),
    # In the small world.
    (state_problems, with_page("09_new", ""), "0.4: to come, but 09 is written"),
    (state_problems, with_page("09_new", ""), "0b: to come, but 09 is written"),
    (state_problems, with_page("09_new", ""), "0.3: begun, but all of its chapters are written"),
    (state_problems, with_page("10_new", ""), "2.1: no section in 10"),
    (state_problems, in_rows("04 07", "04"), "0.1: 07 is not one of its chapters"),
    (state_problems, in_rows("| 09 | to come", "| 09 | done"), "0.4: done, but nowhere"),
    (state_problems, in_rows("| 09 | to come", "| 09 | done"), "0.4: nothing checks it"),
    (state_problems, in_rows("07 | done", "07 | to come"), "0.1: to come, but with a place"),
    (state_problems, in_rows("K | 09", "K | -"), "0b: no chapter"),
    (place_problems, in_rows("#41--a-way", "#42--a-way"), "0.1: 04_bound has 0 headings"),
    (place_problems, in_rows("04_bound#", "04_elbo#"), "0.1: there is no page 04_elbo"),
    (place_problems, in_rows("#71--a-model", "#no-heading"), "0.1: 07_model has 0 headings"),
    (place_problems, with_page("identities", "## Another sum"), "0.2: identities has 0 headings"),
    (place_problems, with_page("identities", "## The sum\n## The sum"), "0.2: identities has 2"),
    (check_problems, in_rows("::test_one", "::test_1"), "0.1: there is no tests/test_a.py::test_1"),
    (check_problems, in_rows("test_a.py", "test_b.py"), "0.1: there is no tests/test_b.py"),
    (check_problems, in_rows("::A::", "::"), "0.3: there is no tests/test_a.py::test_2"),
    (check_problems, in_rows("checks.top", "checks.stop"), "0.3: there is no checks.stop"),
    (check_problems, in_rows("fig-way", "fig-away"), "0.2: there is no book/04_bound.ipynb::fig-a"),
    (check_problems, in_rows("good by, nats", "good, nats"), "2.1: there is no book/07_model"),
    (check_problems, in_rows("margin exercise", "margin"), "0a: an exercise is named"),
    (check_problems, in_rows("margin exercise", "whisper exercise"), "0a: taken up by whisper"),
    (
        check_problems,
        with_page("04_bound", "## 4.1 · A way\n### Exercise 04.1 · Order"),
        "0a: no m",
    ),
    (page_problems, in_page("<!-- 0.1 -->", "<!-- 0.2 -->"), "0.1 is missing"),
    (page_problems, in_page("<!-- 0.1 -->", "<!-- 0.2 -->"), "0.2 stands 2 times"),
    (page_problems, in_page("<!-- 0.1 -->", "<!-- 0.9 -->"), "0.9 is no row"),
    (page_problems, in_page("<!-- 0.1 --> ", ""), "no row is named in | a |"),
    (
        page_problems,
        in_page("[4.1](04_bound.ipynb#41--a-way), [7.1]", "[7.1]"),
        "0.1 has no link to",
    ),
    (page_problems, in_page("[4.1]", "[4.2]"), "0.1 says 4.2 and leads to 04_bound#41"),
    (page_problems, in_page("[exercise 4.1]", "[exercise 4.2]"), "0.3 says exercise 4.2"),
    (page_problems, in_page("identities.md", "identities.ipynb"), "0.2 leads to identities.ipynb"),
    (page_problems, in_page("identities.md#the-sum", "identities.md"), "0.2 has a link without an"),
    (
        page_problems,
        in_rows("07_model#71--a-model | t", "07_model#72--b | t"),
        "leads to 07_model#71",
    ),
    (page_problems, in_page("to come: chapter 9 |", "chapter 9 |"), "0.4 is to come, and does not"),
    (page_problems, in_page("To come: chapter 9 |", "chapter 9 |"), "0.3 is begun, and does not"),
]
FAULTS = [f"{n}-{said}" for n, (_, _, said) in enumerate(PLANTED)]


@pytest.mark.parametrize(("rule", "plant", "said"), PLANTED, ids=FAULTS)
def test_each_rule_finds_its_fault(rule, plant, said):
    world = BOOK if rule is list_problems else SMALL
    assert any(said in problem for problem in rule(plant(world))), rule(plant(world))


@pytest.mark.parametrize("rule", RULES[1:])
def test_the_small_world_is_well(rule):
    assert rule(SMALL) == []
