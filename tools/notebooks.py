"""Execute the book's notebooks and bring them into their one committed form.

    python tools/notebooks.py run [FILES]     execute, then write the normal form
    python tools/notebooks.py tidy [FILES]    write the normal form only: code is unchanged
    python tools/notebooks.py check [FILES]   is it in its normal form, and does it keep the rules?

Without files: every notebook of book/. Running twice on one machine leaves no difference. The rules
are those of `problems`, and the tests call the same functions. MNIST is found as the package finds
it (VAE_TUTORIAL_DATA, VAE_TUTORIAL_MNIST); OMP_NUM_THREADS is handed on to the kernel.
"""

import argparse
import ast
import base64
import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import symtable
import sys
import tempfile
import time
import warnings
from pathlib import Path

import nbformat.v4

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
COLOURS = 128  # in a stored picture
MAX_BYTES = 1_000_000
MAX_LINES = 25  # of a code cell: what a reader can hold in the head
MAX_FOLDED = 40  # of one whose code is folded on the page, as that of most pictures is
MAX_WIDTH = 78  # of a line of code: what the page shows without scrolling
MAX_CLAIMS = 2  # in a cell that teaches; the others stand in a folded one behind it
PROOF_TITLE = "# @title The numbers of this section, checked"
MAX_UNCOMPARED = 2  # cells per notebook whose text output is not compared
UNCOMPARED_REASON = "# not compared:"

CELL_METADATA = ("tags", "cellView", "jupyter", "mystnb")
TAGS = {
    "remove-cell": "the set-up cell",
    "hide-input": "code folded on the page",
    "hide-output": "output folded on the page",
    "hide-cell": "both folded on the page",
    "remove-input": "only the output is on the page",
    "remove-output": "only the code is on the page",
    "claims": "asserts the other numbers of a section; folded, its summary says how many held",
    "exercise": "a stub that the reader fills in",
    "solution": "its folded answer",
    "trained-picture": "shows a trained model: only presence and size of the picture are compared",
    "listing": "prints a program: its lines scroll and do not break",
    "live-only": "needs a kernel",
    "nbval-check-output": "compared even where the data are a stand-in",
    "nbval-ignore-output": f"text not compared; says why in a comment `{UNCOMPARED_REASON} …`",
}
ADDRESS = re.compile(r"(?<![A-Za-z0-9+/=])0x[0-9a-fA-F]{6,}")
MACHINE_PATH = re.compile(
    r"(?<![A-Za-z0-9+/=.:])/(?:home|root|tmp|Users|content|work|private|var|opt|mnt|usr)/[\w.]"
)
WIDGET = "application/vnd.jupyter.widget-view+json"


# ------------------------------------------------------------------------------ the set-up cell
def repository():
    """The address of the repository, said once: in _config.yml."""
    text = (ROOT / "_config.yml").read_text(encoding="utf8")
    return re.search(r"^repository:\n(?:[ #].*\n)*?  url: *(\S+)", text, re.M)[1].strip("\"'")


def setup_cell():
    """The first code cell of every notebook: on Colab it installs the package, else nothing."""
    return (
        "try:\n"
        "    import vae_tutorial\n"
        "except ModuleNotFoundError:  # on Colab\n"
        f'    %pip install -q "vae-tutorial @ git+{repository()}"'
    )


# ------------------------------------------------------------------------------ the normal form
def quantize(image):
    """The picture as it is stored: opaque on white, at most 128 colours."""
    from PIL import Image

    if image.mode == "P" and "transparency" not in image.info and len(image.getcolors()) <= COLOURS:
        return image
    if image.mode != "RGB":
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    return image.quantize(COLOURS, dither=Image.Dither.NONE)


def decode_png(data):
    """The picture in an output, from base64."""
    from PIL import Image

    return Image.open(io.BytesIO(base64.b64decode(data)))


def canonical_png(data):
    image = decode_png(data)
    small = quantize(image)
    if small is image:  # already in its normal form: the bytes stay, whatever zlib is installed
        return "".join(data.split()) + "\n"
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode() + "\n"


def collapse(text):
    """What a terminal shows in the end: `\\r` starts the line again, by nbval's own rule."""
    return re.sub(r"^.*\r(?=[^\n])", "", text, flags=re.MULTILINE)


def canonical_outputs(outputs, count):
    """Streams merged, counts set, no metadata; no widget view beside what a page can show."""
    merged, streams = [], {}
    for output in outputs:
        if output.output_type == "stream":
            if output.name in streams:
                streams[output.name].text += output.text
                continue
            streams[output.name] = output
        elif output.output_type in ("execute_result", "display_data"):
            output.metadata = {}
            if output.output_type == "execute_result":
                output.execution_count = count
            data = output.data
            if "text/html" in data or "image/png" in data:
                data.pop(WIDGET, None)
            if "image/png" in data:
                data["image/png"] = canonical_png(data["image/png"])
        merged.append(output)
    for output in streams.values():
        output.text = collapse(output.text)
    return merged


def canonical(nb):
    """The normal form of a notebook, a new object; the normal form of it is itself."""
    nb = nbformat.from_dict(json.loads(json.dumps(nb)))
    vae = nb.metadata.get("vae")
    nb.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        | ({"vae": vae} if vae else {})
    )
    nb.nbformat, nb.nbformat_minor = 4, 5
    count, ids = 0, set()
    for position, cell in enumerate(nb.cells):
        for key in set(cell.metadata) - set(CELL_METADATA):
            del cell.metadata[key]
        if cell.metadata.get("tags") == []:
            del cell.metadata["tags"]
        cell.source = cell.source.rstrip()
        while not cell.get("id") or cell.id in ids:
            text = f"{position}:{cell.get('id')}:{cell.source}"
            cell.id = hashlib.sha256(text.encode()).hexdigest()[:8]
        ids.add(cell.id)
        if cell.cell_type == "code":
            if cell.execution_count is not None:  # a cell that was never run stays so, and fails
                count += 1
                cell.execution_count = count
            cell.outputs = canonical_outputs(cell.outputs, count)
    return nb


def text_of(nb):
    """The notebook as the text of its file."""
    return nbformat.v4.writes(nb).rstrip("\n") + "\n"


def read(path):
    """A notebook as it stands in its file: nbformat's own reader would mend and warn."""
    return nbformat.v4.reads(path.read_text(encoding="utf8"))


# ------------------------------------------------------------------------------ the rules
def tags(cell):
    return set(cell.metadata.get("tags", []))


def problems(nb):
    """Every rule of the book that a notebook breaks, as sentences; a good notebook has none."""
    found = []
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    if not code or code[0].source != setup_cell():
        found.append("the first code cell is not the canonical set-up cell")
    elif tags(code[0]) != {"remove-cell"}:
        found.append("the set-up cell must carry the tag remove-cell and no other")
    if any("load_mnist" in cell.source for cell in code) and not _uses_mnist(nb):
        found.append('load_mnist is used, but the metadata lack "vae": {"data": "mnist"}')
    uncompared = [cell for cell in code if "nbval-ignore-output" in tags(cell)]
    if len(uncompared) > MAX_UNCOMPARED:
        found.append(
            f"{len(uncompared)} cells carry nbval-ignore-output, at most {MAX_UNCOMPARED} may"
        )
    for number, cell in enumerate(code, 1):
        found += [f"code cell {number}: {text}" for text in _cell_problems(cell)]
    found += _markdown_problems(nb)
    found += exercise_leaks(nb)
    if len(text_of(nb).encode()) > MAX_BYTES:
        found.append(f"larger than {MAX_BYTES // 1000} KB")
    return found


def _uses_mnist(nb):
    return nb.metadata.get("vae", {}).get("data") == "mnist"


def _cell_problems(cell):
    found = []
    if not cell.source.strip():
        found.append("empty")
    elif cell.execution_count is None:
        found.append("never run: nbval would compare nothing")
    lines = cell.source.count("\n") + 1
    most = MAX_FOLDED if tags(cell) & {"hide-input", "hide-cell"} else MAX_LINES
    if lines > most:
        found.append(f"{lines} lines, at most {most}")
    if unknown := sorted(tags(cell) - set(TAGS)):
        found.append(f"unknown tag {', '.join(unknown)}; known are {', '.join(TAGS)}")
    if "nbval-ignore-output" in tags(cell) and UNCOMPARED_REASON not in cell.source:
        found.append(f"nbval-ignore-output without a reason (a comment `{UNCOMPARED_REASON} …`)")
    if path := MACHINE_PATH.search(cell.source):
        found.append(f"a machine's path in the source: {path[0]}")
    longest = max(map(len, cell.source.split("\n")))
    if longest > MAX_WIDTH and "remove-cell" not in tags(cell):
        found.append(f"a line of {longest} characters, at most {MAX_WIDTH}")
    found += _claim_problems(cell)
    for output in cell.outputs:
        found += _output_problems(cell, output)
    return found


def claims_in(cell):
    """How many claims a code cell makes: calls, or lines printed where a loop calls more often."""
    from IPython.core.inputtransformer2 import TransformerManager

    tree = ast.parse(TransformerManager().transform_cell(cell.source))
    called = [getattr(node.func, "id", "") for node in ast.walk(tree) if isinstance(node, ast.Call)]
    printed = "".join(output.get("text", "") for output in cell.outputs)
    lines = len(re.findall(r"^[✓·✗]  ", printed, re.M))
    return max(called.count("claim"), lines) + called.count("claim_table")


def _claim_problems(cell):
    """Teach, then prove: few claims in what is read, the rest in a folded cell behind it."""
    count, found = claims_in(cell), []
    if "claims" not in tags(cell):
        if count > MAX_CLAIMS and not tags(cell) & {"hide-input", "hide-cell", "remove-input"}:
            found.append(
                f"{count} claims, at most {MAX_CLAIMS} in a cell that teaches: assert the others "
                "in a cell behind it, tagged claims and hide-cell, or print a claim_table"
            )
        elif count > MAX_CLAIMS and "solution" not in tags(cell):
            found.append(f"{count} claims in a folded cell without the tag claims")
        return found
    if "hide-cell" not in tags(cell):
        found.append("the tag claims without hide-cell: the page folds it")
    if not cell.source.startswith(PROOF_TITLE + "\n"):
        found.append(f"a cell tagged claims must begin with the line {PROOF_TITLE!r}")
    if cell.metadata.get("cellView") != "form" or not cell.metadata.get("jupyter", {}).get(
        "source_hidden"
    ):
        found.append('a cell tagged claims needs "cellView": "form" and jupyter.source_hidden')
    if not count:
        found.append("a cell tagged claims, and no claim in it")
    return found


def _output_problems(cell, output):
    if output.output_type == "error":
        return [f"a stored error: {output.ename}"]
    if output.get("name") == "stderr":
        return [f"output on stderr: {output.text.strip()[:80]}"]
    data = {"text/plain": output.text} if output.output_type == "stream" else output.data
    found = []
    for mime, value in data.items():
        if not mime.startswith(("text/", "image/svg")):
            continue
        for what, pattern in (("a memory address", ADDRESS), ("a machine's path", MACHINE_PATH)):
            if hit := pattern.search(value):
                found.append(f"{what} in the output: {hit[0]}")
    for line in data.get("text/plain", "").split("\n"):
        if line.startswith("✗"):
            found.append(f"a claim that does not hold: {line}")
        if line.startswith("·") and "not checked" in line:
            found.append(f"run on the stand-in, not on MNIST: {line}")
    if WIDGET in data:
        found.append("a widget without a picture or page form")
    if "image/png" in data and "text/html" not in data:
        mystnb = cell.metadata.get("mystnb", {})
        if not str(mystnb.get("image", {}).get("alt", "")).strip():
            found.append("a picture without alternative text (metadata mystnb.image.alt)")
        if not str(mystnb.get("figure", {}).get("caption", "")).strip():
            found.append("a picture without a caption (metadata mystnb.figure.caption)")
    return found


def _markdown_problems(nb):
    """What Colab or the page would show as raw text."""
    found = []
    for cell in nb.cells:
        if cell.cell_type != "markdown":
            continue
        if path := MACHINE_PATH.search(cell.source):
            found.append(f"a machine's path in the text: {path[0]}")
        for what, pattern in (
            ("a backtick directive (use a colon fence)", r"^`{3,}\{"),
            ("the role {doc} (use a link)", r"\{doc\}`"),
            ("the role {glue}", r"\{glue[:\w]*\}`"),
            ("a bare align (use $$\\begin{aligned}…$$)", r"^\\begin\{align\*?\}"),
            ("a colon fence, which Jupyter and Colab show as it is written", r"^:{3,}"),
        ):
            if re.search(pattern, cell.source, re.M):
                found.append(f"{what} in: {cell.source.strip().splitlines()[0][:60]}")
        for formula in marked_formulas(cell.source):
            found.append(f"punctuation inside a formula, not behind it: ${formula}$")
    return found


def marked_formulas(markdown):
    """Inline formulas that end in a mark of the sentence around them.

    >>> marked_formulas("At $x = 1,$ and at $x = 2$, but $$ y. $$ and `$z,$` may.")
    ['x = 1,']
    """
    text = re.sub(r"```.*?```|`[^`\n]*`|\$\$.*?\$\$", "", markdown, flags=re.DOTALL)
    inline = re.findall(r"(?<![\\$])\$(?!\s)([^$\n]+?)(?<![\s\\])\$(?!\d)", text)
    return [formula for formula in inline if re.search(r"(?<!\\)[,.;:]$", formula)]


def names(source):
    """The global names that a cell binds, and those that it reads: two sets."""
    from IPython.core.inputtransformer2 import TransformerManager

    bound, read = set(), set()

    def visit(table, top):
        for symbol in table.get_symbols():
            here = top or symbol.is_declared_global()
            if here and (symbol.is_assigned() or symbol.is_imported()):
                bound.add(symbol.get_name())
            if symbol.is_referenced() and (top or symbol.is_global()):
                read.add(symbol.get_name())
        for child in table.get_children():
            visit(child, False)

    visit(symtable.symtable(TransformerManager().transform_cell(source), "cell", "exec"), True)
    return bound, read


def exercise_leaks(nb):
    """Names that a cell reads although their last value comes from an exercise, solution or proof.

    A reader may skip every exercise and every folded proof, and "run all" must still work.
    """
    found, owner = [], {}
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        bound, read = names(cell.source)
        if tags(cell) & {"exercise", "solution", "claims"}:
            owner |= dict.fromkeys(bound, number)
            continue
        for name in sorted((read - bound) & set(owner)):
            found.append(
                f"code cell {number}: uses `{name}`, which is bound in the exercise or proof of "
                f"code cell {owner[name]}"
            )
        for name in bound:
            owner.pop(name, None)
    return found


def check(path):
    """What is wrong with a committed notebook, as sentences."""
    text, nb = path.read_text(encoding="utf8"), read(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # of what the normal form mends
            nbformat.validate(json.loads(text))
    except nbformat.ValidationError as error:
        return [f"not a valid notebook: {error.message}"]
    found = problems(nb)
    if text != text_of(canonical(nb)):
        found.insert(0, "not in its normal form: python tools/notebooks.py tidy FILE mends it")
    return found


# ------------------------------------------------------------------------------ execution
def over_files(folder):
    """Options of a kernel manager: talk to the kernel over sockets in `folder`, not over ports.

    jupyter_client picks five free ports and lets them go; the kernel binds them a second later. If
    a browser or another kernel has taken one in between, the kernel dies. (Windows has only ports.)
    """
    if os.name != "posix":
        return {}
    return {"transport": "ipc", "connection_file": str(Path(folder, "k.json"))}


@contextlib.contextmanager
def kernel_config():
    """The `config` of a NotebookClient whose kernel needs no ports."""
    from traitlets.config import Config

    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        yield Config({"AsyncKernelManager": over_files(folder)})


def execute(nb):
    """Run every cell in an empty folder and store what it shows."""
    from nbclient import NotebookClient

    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nb.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    with tempfile.TemporaryDirectory() as folder, kernel_config() as config:
        NotebookClient(
            nb,
            config=config,
            timeout=1800,
            startup_timeout=180,
            kernel_name="python3",
            record_timing=False,
            store_widget_state=False,
            resources={"metadata": {"path": folder}},
        ).execute(stderr=subprocess.DEVNULL)  # of the kernel's own process, not of the cells
        left = sorted(os.listdir(folder))
    if left:
        raise RuntimeError(f"the notebook left files in the working directory: {', '.join(left)}")
    return nb


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=["run", "tidy", "check"])
    parser.add_argument("files", nargs="*", type=Path, help="default: every notebook of book/")
    args = parser.parse_args(argv)
    bad = 0
    for path in args.files or sorted(BOOK.glob("*.ipynb")):
        start = time.perf_counter()
        if args.task == "check":
            found = check(path)
        else:
            nb = read(path)
            if args.task == "run":
                try:
                    nb = execute(nb)
                except Exception as error:  # of any kind: the notebook stays as it was
                    print(f"{path.name}: not written, it does not run\n{error}")
                    bad += 1
                    continue
            nb = canonical(nb)
            path.write_text(text_of(nb), encoding="utf8")
            found = problems(nb)
        bad += bool(found)
        size = path.stat().st_size // 1024
        print(f"{path.name}: {args.task}, {size} KB, {time.perf_counter() - start:.1f} s")
        for text in found:
            print(f"  {text}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
