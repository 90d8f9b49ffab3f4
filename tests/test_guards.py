"""Each guard is tried on a planted fault: a check that can't fail checks nothing."""

import copy
import os
import re
import subprocess
import sys

import nbformat
import notebooks
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebooks import ROOT, canonical, check, decode_png, text_of
from PIL import Image
from rules import arrow_problems, label_problems
from test_notebooks import png

# ------------------------------------------------------------------------------ a run of pytest
CLAIM = "from vae_tutorial.claims import claim\nclaim('x', 1.0, 1.0, 0.1)"
LINE = "import matplotlib.pyplot as plt\n_ = plt.subplots(figsize=(2, 1))[1].plot([0, 1])"


def claimed(value):
    def plant(cell):
        cell.source = cell.source.replace("'x', 1.0", f"'x', {value}")

    return plant


def stale_text(cell):
    cell.outputs[0].text = "✓  x: 2.0 ± 0.1\n"


def as_it_is(cell):
    pass


def cleared(cell):
    cell.outputs, cell.execution_count = [], None


def repainted(change):
    def plant(cell):
        data = cell.outputs[0].data
        image = np.asarray(decode_png(data["image/png"]).convert("RGB"))
        data["image/png"] = png(change(image))

    return plant


inverted = repainted(lambda image: 255 - image)
smaller = repainted(lambda image: image[:-1])


def removed_picture(cell):
    cell.outputs = []


def removed_pixels(cell):
    del cell.outputs[0].data["image/png"]


def no_longer_drawn(cell):
    cell.source = f"'{cell.outputs[0].data['text/plain']}'"


# Where it is planted (a notebook that needs MNIST is run on the stand-in here), what, the tags of
# the cell, and what is said; "" where the cell must pass.
PLANTED = {
    "a good claim": ("strict", CLAIM, as_it_is, [], ""),
    "a good picture": ("strict", LINE, as_it_is, [], ""),
    "false claim": ("strict", CLAIM, claimed("1.2"), [], "but the book has 1.0 ± 0.1"),
    "nan claim": ("strict", CLAIM, claimed("float('nan')"), [], "✗  x: nan, but the book has"),
    "stale text": ("strict", CLAIM, stale_text, [], "Cell outputs differ"),
    "cleared text": ("strict", CLAIM, cleared, [], "Never run"),
    "cleared picture": ("strict", LINE, cleared, [], "Never run"),
    "inverted": ("strict", LINE, inverted, [], "Picture 1 differs"),
    "inverted, text uncompared": (
        *("strict", LINE, inverted, ["nbval-ignore-output"], "Picture 1 differs"),
    ),
    "inverted, trained": ("strict", LINE, inverted, ["trained-picture"], ""),
    "smaller, trained": ("strict", LINE, smaller, ["trained-picture"], "Picture 1: stored"),
    "removed": ("strict", LINE, removed_picture, [], "Cell outputs differ"),
    "removed pixels": ("strict", LINE, removed_pixels, [], "0 pictures are stored, but the cell"),
    "not drawn": ("strict", LINE, no_longer_drawn, [], "Cell outputs differ"),
    "not drawn, trained, uncompared": (
        *("strict", LINE, no_longer_drawn, ["trained-picture", "nbval-ignore-output"]),
        "1 pictures are stored, but the cell shows 0",
    ),
    "stand-in, text": ("lax", CLAIM, stale_text, [], ""),
    "stand-in, picture": ("lax", LINE, inverted, [], ""),
    "stand-in, not drawn": ("lax", LINE, no_longer_drawn, [], "1 pictures are stored"),
    "stand-in, cleared": ("lax", CLAIM, cleared, [], "Never run"),
    "stand-in, false claim": ("lax", CLAIM, claimed("1.2"), [], "but the book has 1.0 ± 0.1"),
    "stand-in, text that does not depend on it": (
        *("lax", CLAIM, stale_text, ["nbval-check-output"], "Cell outputs differ"),
    ),
    "stand-in, picture that does not depend on it": (
        *("lax", LINE, inverted, ["nbval-check-output"], "Picture 1 differs"),
    ),
}


def run_pytest(folder, *arguments, **environment):
    """A pytest of its own, with our policy, that knows nothing of this one."""
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf8")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("VAE_TUTORIAL", "PYTEST"))}
    env |= {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "no-cache")} | environment
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider"),
            *("--nbval", "--nbval-current-env", "--color=no", "-rA", *arguments, "."),
        ],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def planted_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    sound = notebooks.execute(new_notebook(cells=[new_code_cell(CLAIM), new_code_cell(LINE)]))
    sound = {cell.source: cell for cell in canonical(sound).cells}
    for where, metadata in (("strict", {}), ("lax", {"vae": {"data": "mnist"}})):
        nb = new_notebook(metadata=metadata)
        for place, source, plant, tags, _ in PLANTED.values():
            if place == where:
                cell = copy.deepcopy(sound[source])
                cell.id, cell.metadata["tags"] = f"cell{len(nb.cells)}", tags
                plant(cell)
                nb.cells.append(cell)
        (folder / f"{where}.ipynb").write_text(text_of(nb), encoding="utf8")
    done = run_pytest(folder, "--data=digits")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_fails_where_it_stands(planted_run, name):
    where, *_, message = PLANTED[name]
    number = [key for key, planted in PLANTED.items() if planted[0] == where].index(name)
    cell = rf"{where}\.ipynb::Cell {number}\b"
    outcome = re.findall(rf"^(PASSED|FAILED) {cell}", planted_run, re.M)
    assert outcome == ["FAILED" if message else "PASSED"], planted_run
    report = re.search(rf"^_+ {cell}(.*?)^(?:__|==)", planted_run, re.M | re.S)
    assert message in (report[1] if report else "")


def test_the_first_and_the_last_line_say_lax_on_the_stand_in(planted_run):
    lines = planted_run.rstrip().splitlines()
    assert lines[-1].startswith("notebooks: LAX where MNIST is needed")
    assert lines[-1] in lines[:5]


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {"VAE_TUTORIAL_STRICT": "1"}, "VAE_TUTORIAL_STRICT=1, but MNIST is not here"),
        (["--data=mnist"], {}, "--data=mnist, but MNIST is not here"),
        (["--data=digits"], {"VAE_TUTORIAL_STRICT": "1"}, "MNIST is switched off"),
        ([], {"VAE_TUTORIAL_DATA": "nowhere"}, "VAE_TUTORIAL_DATA"),
    ],
)
def test_strict_runs_refuse_to_start_without_mnist(tmp_path, arguments, environment, message):
    done = run_pytest(tmp_path, *arguments, **environment)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in done.stderr


# ------------------------------------------------------------------------------ the rules
FIGURE = {"mystnb": {"image": {"alt": "A line"}, "figure": {"caption": "It rises."}}}


def code(source, *outputs, tags=(), count=2, **metadata):
    return new_code_cell(
        source,
        execution_count=count,
        outputs=list(outputs),
        metadata=({"tags": list(tags)} if tags else {}) | metadata,
    )


def shown(mime, text):
    return new_output("display_data", {mime: text})


def said(text, name="stdout"):
    return new_output("stream", text=text, name=name)


PICTURE = shown("image/png", png(np.zeros((2, 2, 3), dtype=np.uint8)))
EXERCISE = code("def my_f(x): ...", tags=["exercise"])

RULES = {
    "stored error": ([code("1/0", new_output("error", ename="E"))], "a stored error: E"),
    "stderr": ([code("f()", said("careful", "stderr"))], "output on stderr: careful"),
    "address": ([code("f", said("<f at 0x7f00aa12>"))], "a memory address in the output"),
    "address in html": ([code("f", shown("text/html", "0x7f00aa12"))], "a memory address"),
    "path": ([code("f", said("/home/me/x.py:1"))], "a machine's path in the output"),
    "path in code": ([code("open('/content/x')")], "a machine's path in the source"),
    "path in text": ([new_markdown_cell("see /Users/me/x")], "a machine's path in the text"),
    "widget": ([code("w", shown(notebooks.WIDGET, {}))], "a widget without a picture"),
    "no alt": ([code("f", PICTURE)], "a picture without alternative text"),
    "blank alt": (
        [code("f", PICTURE, mystnb={"image": {"alt": " "}})],
        "a picture without alternative text",
    ),
    "no caption": (
        [code("f", PICTURE, mystnb={"image": {"alt": "A line"}})],
        "a picture without a caption",
    ),
    "never run": ([code("f", count=None)], "never run"),
    "empty": ([code("\n")], "code cell 2: empty"),
    "long": ([code("\n".join("abcdefghijklmnopqrstuvwxyz"))], "26 lines, at most 25"),
    "unknown tag": ([code("f", tags=["hide_input"])], "unknown tag hide_input"),
    "no reason": ([code("f", tags=["nbval-ignore-output"])], "without a reason"),
    "too many": (
        [code("f  # not compared: random", tags=["nbval-ignore-output"])] * 3,
        "3 cells carry nbval-ignore-output, at most 2 may",
    ),
    "false claim stored": ([code("f", said("a\n✗  x: 1, but …\n"))], "a claim that does not hold"),
    "stand-in stored": (
        [code("f", said("·  x: 171.2 here, not checked (the book, on MNIST: 1 ± 1)"))],
        "run on the stand-in",
    ),
    "mnist unsaid": ([code("from vae_tutorial.data import load_mnist")], "load_mnist is used"),
    "exercise used": ([EXERCISE, code("my_f(1)")], "code cell 3: uses `my_f`, which is bound"),
    "solution used": (
        [code("a = 1", tags=["solution"]), code("def g():\n    return a")],
        "code cell 3: uses `a`",
    ),
    "value overwritten": (
        [code("x = 1"), code("x = 2", tags=["exercise"]), code("print(x)")],
        "code cell 4: uses `x`",
    ),
    "backticks": ([new_markdown_cell("```{note}\nx\n```")], "a backtick directive"),
    "doc role": ([new_markdown_cell("{doc}`x`")], "the role {doc}"),
    "align": ([new_markdown_cell("\\begin{align}\n\\end{align}")], "a bare align"),
    "large": ([code("f", said("x" * 1_000_001))], "larger than 1000 KB"),
}


def chapter(*cells, setup=None, tags=("remove-cell",)):
    first = code(setup or notebooks.setup_cell(), tags=tags, count=1)
    nb = new_notebook()
    nb.cells = [first, *copy.deepcopy(cells)]  # repeated ids are for the normal form to mend
    return canonical(nb)


def kept(tmp_path, nb, tidy=True):
    path = tmp_path / "chapter.ipynb"
    path.write_text(text_of(canonical(nb) if tidy else nb), encoding="utf8")
    return check(path)


@pytest.mark.parametrize("name", RULES)
def test_a_broken_rule_is_named(tmp_path, name):
    cells, message = RULES[name]
    found = kept(tmp_path, chapter(*cells))
    assert any(message in text for text in found), found
    assert notebooks.main(["check", str(tmp_path / "chapter.ipynb")]) == 1


def test_a_good_chapter_breaks_none(tmp_path):
    nb = chapter(
        new_markdown_cell('# Title\n\n<aside class="margin">\n\nText\n\n</aside>'),
        code("x = 1\nprint(x)", said("1\n")),
        code("f", PICTURE, **FIGURE),
        code("f", shown("text/html", "<img alt='x'>")),
        EXERCISE,
        code("def my_f(x): return x\nmy_f(x)", tags=["solution", "hide-cell"]),
        code("my_f = abs\nmy_f(x)"),
        code("f  # not compared: the order of a set", tags=["nbval-ignore-output"]),
    )
    assert kept(tmp_path, nb) == []


@pytest.mark.parametrize(
    ("nb", "message"),
    [
        (new_notebook(), "not the canonical set-up cell"),
        (chapter(setup=notebooks.setup_cell().replace("-q ", "")), "not the canonical set-up cell"),
        (chapter(tags=["hide-cell"]), "must carry the tag remove-cell"),
    ],
)
def test_the_set_up_cell_is_the_same_everywhere(tmp_path, nb, message):
    assert any(message in text for text in kept(tmp_path, nb))


def test_a_file_that_is_not_in_its_normal_form_is_named(tmp_path):
    nb = chapter(code("f"))
    nb.cells[1].execution_count = 7
    assert any("not in its normal form" in text for text in kept(tmp_path, nb, tidy=False))
    nb.cells[1].outputs = [nbformat.from_dict({"output_type": "what"})]
    (tmp_path / "chapter.ipynb").write_text(
        text_of(chapter()).replace('"code"', '"kode"'), encoding="utf8"
    )
    assert "not a valid notebook" in check(tmp_path / "chapter.ipynb")[0]


# ------------------------------------------------------------------------------ labels
def house(root, page="", module="", test="", second=""):
    for folder, name, text in (
        ("book", "identities.md", page),
        ("book", "other.md", second),
        ("vae_tutorial", "exact.py", module),
        ("tests", "test_exact.py", test),
    ):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / name).write_text(text, encoding="utf8")
    return label_problems(root)


ELBO = "$$x = 1$$ (eq-elbo)\n"


def test_labels_that_join_are_fine(tmp_path):
    page = ELBO + "$$y$$ (eq-def-kl)\n\nThe bound [ELBO](#eq-elbo), {eq}`eq-def-kl`."
    module = '"""Equation: eq-elbo."""  # every eq-def-* is a definition'
    assert house(tmp_path, page, module, "# eq-elbo", "[ELBO](identities.md#eq-elbo)") == []


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"page": ELBO}, "eq-elbo is named by no test"),
        ({"page": ELBO, "test": "# eq-elbo-kl"}, "eq-elbo is named by no test"),
        ({"page": ELBO * 2, "test": "# eq-elbo"}, "eq-elbo is defined 2 times"),
        ({"page": ELBO, "second": ELBO, "test": "# eq-elbo"}, "eq-elbo is defined 2 times"),
        ({"page": "[x](#eq-kl)"}, "identities.md refers to eq-kl, which no page defines"),
        ({"page": "{eq}`eq-kl`"}, "identities.md refers to eq-kl, which no page defines"),
        ({"module": "# eq-kl"}, "vae_tutorial/exact.py names eq-kl, which no page defines"),
        ({"test": "# eq-kl"}, "tests/test_exact.py names eq-kl, which no page defines"),
    ],
)
def test_labels_that_do_not_join_are_named(tmp_path, parts, message):
    assert message in house(tmp_path, **parts)


def test_labels_of_notebooks_count(tmp_path):
    house(tmp_path)
    nb = new_notebook(
        cells=[
            new_markdown_cell(ELBO),
            code("f", mystnb={"figure": {"caption": "See [x](#eq-kl)."}}),
        ]
    )
    (tmp_path / "book" / "04.ipynb").write_text(text_of(nb), encoding="utf8")
    found = label_problems(tmp_path)
    assert "eq-elbo is named by no test" in found
    assert "04.ipynb refers to eq-kl, which no page defines" in found


# ------------------------------------------------------------------------------ arrows
@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("distributions", "from vae_tutorial.exact import R1_X", "exact, which stands above it"),
        ("distributions", "from .models import VAE", "models, which stands above it"),
        ("distributions", "def f():\n    from . import models", "models, which stands above it"),
        ("exact", "import importlib\nimportlib.import_module('vae_tutorial.models')", "models"),
        ("models", "from vae_tutorial import plotting", "plotting, which nothing may import"),
        ("explore/figure", "import vae_tutorial.checks", "checks, which nothing may import"),
        ("exact", "from vae_tutorial import objectives", "imports in a circle"),
        ("data", "import tests.rules", "data imports tests, which is outside"),
        ("data", "def f():\n    from tools import notebooks", "data imports tools"),
        ("__init__", "from . import data", "__init__ imports data"),
        ("novelty", "", "novelty has no layer yet"),
    ],
)
def test_an_import_against_the_arrows_is_named(tmp_path, module, source, message):
    package = tmp_path / "vae_tutorial"
    for name, text in {
        "__init__": "",
        "data": "import torch",
        "distributions": "",
        "exact": "from vae_tutorial.distributions import Normal",
        "objectives": "from .exact import R1_X",
        "models": "from . import distributions\nfrom vae_tutorial import data",
        "plotting": "from .models import VAE",
        "checks/__init__": "from vae_tutorial.checks.base import Check",
        "checks/base": "from .. import exact",
        "explore/figure": "from vae_tutorial import models",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / f"{name}.py").write_text(text, encoding="utf8")
    assert arrow_problems(package) == []
    (package / f"{module}.py").write_text(source, encoding="utf8")
    found = arrow_problems(package)
    assert any(message in text for text in found), found


# ------------------------------------------------------------------------------ pictures, close up
def test_quantizing_alone_does_not_look_like_a_difference():
    """A fresh picture is quantized as the stored one was; else 128 colours would cost .0018."""
    rng = np.random.default_rng(0)
    smooth = np.asarray(
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((200, 100))
    )
    stored = decode_png(notebooks.canonical_png(png(smooth))).convert("RGB")
    fresh = notebooks.quantize(decode_png(png(smooth))).convert("RGB")
    assert np.array_equal(stored, fresh)
    assert not np.array_equal(stored, smooth)


# ------------------------------------------------------------------------------ the form of a page
PROOF = {
    "tags": ["hide-cell", "claims"],
    "cellView": "form",
    "jupyter": {"source_hidden": True},
}
TRUE = 'claim("x", 1, 1, 1)\n'
TICK = "✓  x: 1 ± 1\n"


@pytest.mark.parametrize(
    ("source", "metadata", "printed", "message"),
    [
        (TRUE * 3, {}, TICK * 3, "3 claims, at most 2 in a cell that teaches"),
        ("for _ in range(9):\n    " + TRUE, {}, TICK * 9, "9 claims, at most 2"),
        (TRUE * 2 + "claim_table([], {})", {}, TICK * 2, "3 claims, at most 2"),
        (TRUE * 3, {"tags": ["hide-input"]}, TICK * 3, "folded cell without the tag claims"),
        (TRUE, PROOF, TICK, "must begin with the line '# @title"),
        (f"{notebooks.PROOF_TITLE}\n1", PROOF, "", "tagged claims, and no claim in it"),
        (
            f"{notebooks.PROOF_TITLE}\n{TRUE}",
            {"tags": ["claims"]},
            TICK,
            "claims without hide-cell",
        ),
        (
            f"{notebooks.PROOF_TITLE}\n{TRUE}",
            {"tags": ["claims", "hide-cell"]},
            TICK,
            'needs "cellView": "form" and jupyter.source_hidden',
        ),
        ("x = 1  # " + 70 * "a", {}, "", "a line of 79 characters, at most 78"),
    ],
)
def test_a_cell_that_does_not_teach_then_prove_is_named(source, metadata, printed, message):
    cell = new_code_cell(source, metadata=metadata, execution_count=1)
    if printed:
        cell.outputs = [new_output("stream", name="stdout", text=printed)]
    found = notebooks._cell_problems(cell)
    assert any(message in text for text in found), found


@pytest.mark.parametrize(
    ("source", "metadata"),
    [
        (TRUE * 2, {}),
        (TRUE + "claim_table([], {})", {}),
        (f"{notebooks.PROOF_TITLE}\n{TRUE * 9}", PROOF),
        (TRUE * 5, {"tags": ["solution", "hide-cell"]}),
        ("x = 1  # " + 69 * "a", {}),
    ],
)
def test_a_cell_that_teaches_and_one_that_proves_pass(source, metadata):
    printed = new_output("stream", name="stdout", text=TICK * source.count("claim("))
    cell = new_code_cell(source, metadata=metadata, execution_count=1, outputs=[printed])
    assert notebooks._cell_problems(cell) == []


def test_a_name_that_only_a_proof_binds_may_not_be_used():
    nb = new_notebook(
        cells=[
            new_code_cell(f"{notebooks.PROOF_TITLE}\nkl = 1\n{TRUE}", metadata=PROOF),
            new_code_cell("kl + 1"),
        ]
    )
    assert "uses `kl`" in " ".join(notebooks.exercise_leaks(nb))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (":::{margin}\n**Seen in print.** A slip.\n:::", "a colon fence"),
        ("At $x = 1,$ and later.", "punctuation inside a formula, not behind it: $x = 1,$"),
        ("Hence $y$ and $\\hat z.$", "not behind it: $\\hat z.$"),
    ],
)
def test_markup_that_only_the_page_understands_is_named(text, message):
    found = notebooks._markdown_problems(new_notebook(cells=[new_markdown_cell(text)]))
    assert any(message in line for line in found), found


@pytest.mark.parametrize(
    "text",
    [
        "At $x = 1$, and $y$.\n\n$$ z = 1 . $$ (eq-z)",
        "`$x,$` is code, and so is\n```\n$y.$\n```",
        "$x\\,$ holds a thin space; it costs 5$ or 6$.",
        '<aside class="margin">\n\n**Seen in print.** A slip.\n\n</aside>',
    ],
)
def test_markup_that_all_understand_passes(text):
    assert notebooks._markdown_problems(new_notebook(cells=[new_markdown_cell(text)])) == []
