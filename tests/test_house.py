"""The house: pinned versions, links, the contributors' table, the page repairs, the commands."""

import ast
import importlib.util
import json
import re
import struct
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
HARD = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
ALL = HARD + [Requirement(line) for extra in EXTRAS.values() for line in extra]
PINS = [
    line
    for line in (ROOT / "requirements.txt").read_text(encoding="utf8").splitlines()
    if line and not line.startswith("#")
]
# What Colab preinstalls (Python 3.13, August 2026). Installing the package may replace none of it.
COLAB = {
    "torch": "2.11.0",
    "numpy": "2.1.3",
    "ipywidgets": "7.7.1",
    "anywidget": "0.9.21",
    "matplotlib": "3.10.0",
    "scikit-learn": "1.6.1",
    "scipy": "1.16.3",
}
SMALL = {"jaxtyping"}  # not on Colab, quick to install, and it replaces nothing there
README = (ROOT / "README.md").read_text(encoding="utf8")


def load(path):
    spec = importlib.util.spec_from_file_location(f"house_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------------------ versions
def test_each_pin_is_exact():
    assert PINS
    assert [p for p in PINS if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", p)] == []


def test_pins_agree_with_pyproject():
    pins = {canonicalize_name(n): v for n, v in (line.split("==") for line in PINS)}
    assert len(pins) == len(PINS), "a package is pinned twice"
    wrong = [
        f"{requirement} is pinned at {pins.get(canonicalize_name(requirement.name))}"
        for requirement in ALL
        if pins.get(canonicalize_name(requirement.name), "") not in requirement.specifier
        or canonicalize_name(requirement.name) not in pins
    ]
    assert not wrong, f"run `make lock`: {wrong}"


def test_build_backend_is_pinned_because_nothing_is_downloaded_for_the_build():
    names = {canonicalize_name(Requirement(r).name) for r in PROJECT["build-system"]["requires"]}
    assert names <= {canonicalize_name(line.split("==")[0]) for line in PINS}


@pytest.mark.parametrize("requirement", HARD, ids=str)
def test_colab_keeps_what_it_has(requirement):
    name = canonicalize_name(requirement.name)
    if name in SMALL:
        return
    assert COLAB[name] in requirement.specifier
    ceilings = {"<", "<=", "==", "~=", "==="} & {s.operator for s in requirement.specifier}
    assert not ceilings, "a ceiling would one day make Colab replace what it has"


def test_binder_has_the_dependencies():
    environment = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text(encoding="utf8"))
    names = {re.split("[=<>]", d)[0] for d in environment["dependencies"] if isinstance(d, str)}
    assert {r.name for r in HARD} - {"torch"} <= names
    assert "pytorch-cpu" in names


# ------------------------------------------------------------------------------ commands
def makefile_targets():
    text = (ROOT / "Makefile").read_text(encoding="utf8")
    return set(re.findall(r"^([a-z]+):", text, re.M)), text


def test_make_alone_lists_every_target():
    targets, text = makefile_targets()
    listed = set(re.findall(r'@echo "make ([a-z]+) ', text))
    assert listed == targets - {"help", "setup"}
    assert set(re.search(r"^\.PHONY: (.*)", text, re.M)[1].split()) == targets


def test_makefile_runs_only_tools_that_exist():
    _, text = makefile_targets()
    for path in re.findall(
        r"(?:python|ruff check|ruff format --check) ((?:tools|benchmarks)/\S+)", text
    ):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_documents_name_only_targets_that_exist(document):
    text = (ROOT / document).read_text(encoding="utf8")
    named = re.findall(r"(?:^|`)make (?:[A-Z]+=\S+ )?([a-z]+)\b", text, re.M)
    assert set(named) <= makefile_targets()[0]
    assert named


def test_wrong_python_gets_one_clear_sentence(tmp_path):
    old = tmp_path / "python3.8"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for python in (str(old), "no-such-python"):
        done = subprocess.run(
            ["make", "-C", str(tmp_path), "setup", f"PYTHON={python}"],
            capture_output=True,
            text=True,
        )
        assert done.returncode != 0
        assert "Python 3.11 or newer is needed: make PYTHON=python3.11" in done.stdout
        assert not (tmp_path / ".venv").exists()


def test_ci_runs_the_two_commands_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf8")
    commands = re.findall(r"^make ([a-z]+)", README.split("## Read it")[1], re.M)
    assert commands == ["book", "test"]
    assert re.findall(r"^make ([a-z]+)", script, re.M) == commands
    assert "set -euo pipefail" in script
    assert subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")]).returncode == 0


def test_readme_code_runs(reader):
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    done = reader(code)
    assert done.returncode == 0, done.stderr
    bound, exact = re.findall(r"-\d+\.\d+", done.stdout)
    assert float(bound) < float(exact)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_local_links_of_documents_lead_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf8")
    for target in re.findall(r"\]\(([^)#:]+)\)|src=\"([^\":]+)\"", text):
        assert (ROOT / "".join(target)).is_file(), target


# ------------------------------------------------------------------------------ chapters
def contributors_table():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    table = text.split("| chapter | modules | tests | checks |")[1].split("\n\n")[0]
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in table.split("\n")[2:]
    ]
    return {
        row[0]: [set(filter(None, re.split(r"[,\s]+", cell))) for cell in row[1:]] for row in rows
    }


def chapters():
    return {path.stem: path for path in sorted((ROOT / "book").glob("*.ipynb"))}


def code_of(path):
    cells = json.loads(path.read_text(encoding="utf8"))["cells"]
    return "\n".join(
        line
        for cell in cells
        if cell["cell_type"] == "code"
        for line in "".join(cell["source"]).splitlines()
        if not line.lstrip().startswith(("%", "!"))
    ).replace("except ModuleNotFoundError:  # on Colab", "except ModuleNotFoundError: pass")


def imported(path):
    """Modules of the package that a notebook imports."""
    names = set()
    for node in ast.walk(ast.parse(code_of(path))):
        if isinstance(node, ast.ImportFrom) and node.module == "vae_tutorial":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vae_tutorial."):
            names.add(node.module.split(".")[1])
    return names


def test_every_chapter_has_a_row():
    assert set(contributors_table()) == set(chapters())


def test_the_table_of_the_readme_holds_the_chapters_of_the_book_and_no_other():
    named = re.findall(r"^\| .* \| .* \| \[(\w+)\]\(", README, re.M)
    assert named == list(chapters())
    assert set(named) <= set(re.findall(r"file: (\w+)", (ROOT / "_toc.yml").read_text()))


def test_the_python_versions_of_readme_classifiers_and_workflow_agree():
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert f"Python {', '.join(versions[:-1])} or {versions[-1]}" in README
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf8")
    assert re.search(r'python: \["3\.11", "3\.13"\]', workflow)


@pytest.mark.parametrize("chapter", sorted(chapters()))
def test_row_of_the_table_is_true(chapter):
    modules, tests, checks = contributors_table()[chapter]
    assert modules == imported(chapters()[chapter])
    for test in tests:
        assert (ROOT / "tests" / f"{test}.py").is_file(), test
    for module in modules - {"plotting", "explore"}:
        assert f"test_{module}" in tests, f"the tests of {module} are missing from the row"
    for check in checks:
        assert (ROOT / "vae_tutorial" / "checks" / f"{check}.py").is_file(), check


def test_every_page_is_in_the_contents():
    toc = (ROOT / "_toc.yml").read_text(encoding="utf8")
    named = set(re.findall(r"(?:file|root): (\S+)", toc))
    pages = {path.stem for path in (ROOT / "book").iterdir() if path.suffix in {".md", ".ipynb"}}
    assert named == pages


def test_readme_lists_every_chapter_with_its_title():
    for name, path in chapters().items():
        first = "".join(json.loads(path.read_text(encoding="utf8"))["cells"][0]["source"])
        title = re.sub(r"^# (?:\d+[a-z]?\s*[·:.]?\s*)?", "", first.splitlines()[0])
        assert re.search(rf"\| {re.escape(title)} \| \[{name}\]\(", README), (name, title)


# ------------------------------------------------------------------------------ links
@pytest.fixture
def links():
    sys.path[:0] = [str(ROOT / "tools")]
    try:
        yield load(ROOT / "tools" / "repo_links.py")
    finally:
        sys.path.remove(str(ROOT / "tools"))


def test_every_repository_link_agrees(links):
    assert links.problems() == []


def small_repository(folder):
    (folder / "book").mkdir()
    (folder / "_config.yml").write_text(
        "repository:\n  url: https://github.com/vae-tutorial/vae-tutorial\n  branch: main\n"
    )
    (folder / "book" / "a.ipynb").write_text(
        '{"source": ["%pip install \\"vae-tutorial @ '
        'git+https://github.com/vae-tutorial/vae-tutorial\\""]}'
    )
    (folder / "README.md").write_text(
        "[a](https://colab.research.google.com/github/vae-tutorial/vae-tutorial/blob/main/book/a.ipynb)\n"
        "git clone https://github.com/vae-tutorial/vae-tutorial.git\n"
        "[else](https://github.com/other/vae-tutorial-extra/issues/1)\n"
        "[near](https://github.com/vae-tutorial/vae-tutorial-extra)\n"
    )


HERE = "https://github.com/vae-tutorial/vae-tutorial"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "git+https://github.com/vae-tutorial",
            "git+https://github.com/ada",
            "says ada/vae-tutorial",
        ),
        (
            "git clone https://github.com/vae-tutorial",
            "git clone https://github.com/ada",
            "says ada/",
        ),
        ("/blob/main/", "/blob/master/", "on branch master"),
        ("book/a.ipynb)", "book/b.ipynb)", "book/b.ipynb, which does not exist"),
    ],
)
def test_a_link_that_disagrees_is_found(links, tmp_path, old, new, expected):
    small_repository(tmp_path)
    assert links.problems(tmp_path, HERE) == []
    for name in ("README.md", "book/a.ipynb"):
        path = tmp_path / name
        path.write_text(path.read_text().replace(old, new))
    (problem,) = links.problems(tmp_path, HERE)
    assert expected in problem


@pytest.mark.parametrize(
    "address", ["https://github.com/ada/my.vae", "git@github.com:ada/my.vae.git"]
)
def test_another_address_is_written_everywhere_and_back(links, tmp_path, address):
    small_repository(tmp_path)
    before = {path: path.read_text() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert len(links.rewrite(address, tmp_path, HERE)) == 3
    assert links.problems(tmp_path, address) == []
    assert "vae-tutorial/vae-tutorial-extra" in (tmp_path / "README.md").read_text()
    assert len(links.rewrite(HERE, tmp_path, address)) == 3
    assert {path: path.read_text() for path in before} == before


@pytest.mark.parametrize("address", ["", "https://example.org/a/b", "github.com/a", "ada"])
def test_a_wrong_address_is_explained(links, address):
    with pytest.raises(ValueError, match="address must be a repository on GitHub"):
        links.owner_and_name(address)


# ------------------------------------------------------------------------------ page repairs
@pytest.fixture(scope="module")
def house():
    return load(ROOT / "book" / "_ext" / "house.py")


def test_an_empty_head_makes_a_derivation_and_a_full_head_stays(house):
    table = (
        '<table class="table">\n<thead>\n<tr class="row-odd"><th class="head"><p>{}</p></th>\n'
        "</tr>\n</thead>\n<tbody>"
    )
    assert house.repair(table.format(""), {}).startswith('<table class="table derivation">')
    assert "<thead>" not in house.repair(table.format(""), {})
    assert house.repair(table.format("nats"), {}) == table.format("nats")


def test_a_folded_cell_says_what_is_folded(house):
    cell = (
        '<div class="cell {} docutils container">\n<details class="admonition hide above-input">\n'
        '<summary aria-label="Toggle hidden content">\n'
        '<p class="collapsed admonition-title">Show code cell content</p>\n'
        '<p class="expanded admonition-title">Hide code cell content</p>\n</summary>'
    )
    solution = house.repair(cell.format("tag_solution tag_hide-cell"), {})
    assert '<span class="collapsed">Show the solution</span>' in solution
    assert "aria-label" not in solution
    assert "<p" not in solution
    other = house.repair(cell.format("tag_hide-cell"), {})
    assert '<span class="collapsed">Show code cell content</span>' in other


def test_a_notebook_picture_is_shown_at_half_its_pixels(house, tmp_path):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 1280, 720, 8, 2, 0, 0, 0)
    picture = tmp_path / "a.png"
    picture.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    body = '<img alt="A curve" src="_images/a.png" /> <img alt="B" src="_images/b.png" />'
    assert house.repair(body, {"a.png": picture}) == (
        '<img alt="A curve" src="_images/a.png" width="640" height="360" /> '
        '<img alt="B" src="_images/b.png" />'
    )


def test_nothing_that_is_vendored_stands_in_static():
    """Jupyter Book puts every script and style sheet below _static on every page."""
    scripts = [
        p.name for p in (ROOT / "book" / "_static").rglob("*") if p.suffix in {".js", ".css"}
    ]
    assert sorted(scripts) == ["a11y.js", "book.css"]


def test_style_sheet_has_the_palette_of_the_figures():
    from vae_tutorial.plotting import COLOURS

    css = (ROOT / "book" / "_static" / "book.css").read_text(encoding="utf8").lower()
    for name in ("reconstruction", "kl", "gap", "prior", "posterior", "elbo"):
        assert f"--vae-{name}: {COLOURS[name].lower()};" in css


def test_no_file_of_the_house_asks_another_server():
    for path in (ROOT / "book" / "_static").iterdir():
        text = path.read_text(encoding="utf8").replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text, path.name
        assert "@import" not in text, path.name


def test_a_formula_keeps_the_marks_behind_it(house):
    formula = r'<span class="math notranslate nohighlight">\(q(z)\)</span>'
    assert house.repair(f"<p>in {formula}), and</p>", {}) == (
        f'<p>in <span class="keep">{formula}),</span> and</p>'
    )
    for other in (f"<p>{formula} and</p>", f"<p>{formula}-th</p>", f"<p>{formula}.5</p>"):
        assert house.repair(other, {}) == other
