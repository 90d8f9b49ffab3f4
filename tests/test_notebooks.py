"""Every notebook keeps the rules of tools/notebooks.py, and that tool does what it says."""

import base64
import gc
import io
import os
from pathlib import Path

import nbformat.v4
import nbval.kernel
import notebooks
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebooks import BOOK, ROOT, canonical, canonical_png, check, decode_png, text_of
from PIL import Image

FILES = sorted(BOOK.glob("*.ipynb"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_notebook_is_in_its_normal_form_and_keeps_the_rules(path):
    assert check(path) == []


def test_there_are_notebooks():
    assert FILES


def test_the_set_up_cell_names_the_repository_of_the_configuration():
    assert f'"vae-tutorial @ git+{notebooks.repository()}"' in notebooks.setup_cell()
    assert notebooks.repository() in (ROOT / "_config.yml").read_text(encoding="utf8")


# ------------------------------------------------------------------------------ the normal form
def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def stream(text, name="stdout"):
    return new_output("stream", text=text, name=name)


def notebook(*cells, **metadata):
    nb = new_notebook(metadata=metadata)
    nb.cells = list(cells)  # as they are: new_notebook would mend them
    return nb


def messy():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    shown = new_output(
        "display_data",
        {"image/png": png(picture), "text/plain": "<Figure>", notebooks.WIDGET: {"model_id": "1"}},
        metadata={"image/png": {"width": 3}},
    )
    cells = [
        new_markdown_cell("# Title  \n", metadata={"collapsed": True}),
        new_code_cell(
            "print(1)\n",
            execution_count=17,
            metadata={"tags": [], "execution": {"iopub.status.busy": "now"}, "cellView": "form"},
            outputs=[stream("a\n"), stream("\rb 1/2"), stream("\rb done\n")],
        ),
        new_code_cell("f()", execution_count=9, outputs=[shown]),
        new_code_cell("g()", outputs=[stream("x", "stderr")]),
    ]
    cells[2].id = cells[1].id
    return notebook(
        *cells,
        widgets={"state": 1},
        kernelspec={"name": "mine", "display_name": "Mine"},
        language_info={"name": "python", "version": "3.11.7"},
        vae={"data": "mnist"},
    )


def test_the_normal_form():
    nb = canonical(messy())
    nbformat.validate(nb)
    assert set(nb.metadata) == {"kernelspec", "language_info", "vae"}
    assert nb.metadata.kernelspec.name == "python3"
    assert nb.metadata.language_info == {"name": "python"}
    first, second, third = (cell for cell in nb.cells if cell.cell_type == "code")
    assert (first.source, first.metadata) == ("print(1)", {"cellView": "form"})
    assert [output.text for output in first.outputs] == ["a\nb done\n"]
    assert [cell.execution_count for cell in (first, second, third)] == [1, 2, None]
    assert set(second.outputs[0].data) == {"image/png", "text/plain"}
    assert second.outputs[0].metadata == {}
    assert len({cell.id for cell in nb.cells}) == 4


def test_the_normal_form_of_a_normal_form_is_itself_and_nothing_is_mutated():
    before = messy()
    text = text_of(before)
    once = canonical(before)
    assert text_of(before) == text
    assert text_of(canonical(once)) == text_of(once)
    reread = nbformat.v4.reads(text_of(once))
    assert text_of(canonical(reread)) == text_of(once)


def test_a_picture_becomes_opaque_on_white_with_few_colours():
    clear = np.zeros((4, 4, 4), dtype=np.uint8)  # transparent black would be unreadable in the dark
    image = decode_png(canonical_png(png(clear)))
    assert image.mode == "P"
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image = decode_png(canonical_png(png(noise)))
    assert image.size == (64, 64)
    assert len(image.getcolors()) <= notebooks.COLOURS
    assert "transparency" not in image.info


def test_a_picture_in_its_normal_form_keeps_its_bytes():
    once = canonical_png(png(np.eye(8, dtype=np.uint8) * 255))
    assert canonical_png(once) == once


# ------------------------------------------------------------------------------ execution
@pytest.fixture(scope="module")
def chapter():
    return notebook(
        new_markdown_cell("# A chapter"),
        new_code_cell(notebooks.setup_cell(), metadata={"tags": ["remove-cell"]}),
        new_code_cell("import os\nfor k in range(3):\n    print(f'\\rstep {k}', end='')\nprint()"),
        new_code_cell(
            "import matplotlib.pyplot as plt\nfrom vae_tutorial import plotting\n"
            "plotting.use_style()\n_ = plt.subplots()[1].plot([0, 1])",
            metadata={
                "mystnb": {"image": {"alt": "A rising line"}, "figure": {"caption": "It rises."}}
            },
        ),
    )


def test_running_twice_leaves_no_difference_and_the_canvas_is_fixed(chapter, tmp_path, capsys):
    path = tmp_path / "chapter.ipynb"
    path.write_text(text_of(chapter), encoding="utf8")
    assert notebooks.main(["run", str(path)]) == 0, capsys.readouterr().out
    first = path.read_bytes()
    assert notebooks.main(["run", str(path)]) == 0
    assert path.read_bytes() == first
    assert notebooks.main(["check", str(path)]) == 0
    nb = notebooks.read(path)
    assert [cell.get("execution_count") for cell in nb.cells] == [None, 1, 2, 3]
    assert decode_png(nb.cells[3].outputs[0].data["image/png"]).size == (900, 540)
    assert nb.cells[2].outputs[0].text == "step 2\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [("1 / 0", "it does not run"), ("open('left.txt', 'w').close()", "left files")],
)
def test_what_does_not_run_cleanly_is_not_written(tmp_path, capsys, code, message):
    path = tmp_path / "chapter.ipynb"
    path.write_text(text_of(notebook(new_code_cell(code))), encoding="utf8")
    before = path.read_bytes()
    assert notebooks.main(["run", str(path)]) == 1
    assert message in capsys.readouterr().out
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="Windows has only ports")
def test_kernels_are_reached_over_files():
    """A port that is picked first and bound later may be taken in between."""
    manager = nbval.kernel.KernelManager(kernel_name="python3")
    folder = Path(manager.connection_file).parent
    assert manager.transport == "ipc"
    assert folder.is_dir()
    del manager
    gc.collect()
    assert not folder.exists()
    with notebooks.kernel_config() as config:
        assert config.AsyncKernelManager.transport == "ipc"
