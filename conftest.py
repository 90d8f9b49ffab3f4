"""How the notebooks are tested; it stands here so that book/ and tests/ both see it.

nbval runs each notebook and compares its text outputs strictly. This adds what nbval leaves out:
cells that were never run fail, pictures are compared, and where MNIST is missing the notebooks that
need it are run on the stand-in and compared only in cells tagged nbval-check-output. The last line
of a run says which of the two it was. `VAE_TUTORIAL_STRICT=1` refuses to run without MNIST.
"""

import os
import re
import sys
import tempfile
import weakref
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "tools")] * (str(ROOT / "tools") not in sys.path)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by every kernel

# Shapes in signatures are checked from here on: the hook must be there before the package is.
if "vae_tutorial" not in sys.modules:
    from jaxtyping import install_import_hook

    # An int is a float here, as Python's typing has it.
    install_import_hook(
        "vae_tutorial", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
    )

# A file goes to one worker as a whole: the longest first, or one worker is left alone with them.
LONGEST = ["tests/test_browser.py", "book/07_vae.ipynb", "tests/test_bench.py"]
PICTURE_TOLERANCE = 0.002  # mean absolute difference of pixels in [0, 1], both pictures quantized
PINNED = re.search(r"^matplotlib==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)[1]
STRICT = pytest.StashKey[bool]()


def pytest_addoption(parser):
    parser.addoption(
        "--data",
        choices=["auto", "mnist", "digits"],
        default=os.environ.get("VAE_TUTORIAL_MNIST", "auto"),
        help="mnist: fail where it is missing; digits: use the stand-in; auto: what is here",
    )


def pytest_configure(config):
    want, must = config.getoption("--data"), os.environ.get("VAE_TUTORIAL_STRICT") == "1"
    here = want != "digits" and _mnist_is_here()
    if (want == "mnist" or must) and not here:
        asked = "--data=mnist" if want == "mnist" else "VAE_TUTORIAL_STRICT=1"
        raise pytest.UsageError(
            f"{asked}, but MNIST is {'switched off' if want == 'digits' else 'not here'}: "
            "`make data` fetches it, or set VAE_TUTORIAL_DATA to a folder that holds mnist/"
        )
    config.stash[STRICT] = here
    if config.pluginmanager.hasplugin("nbval"):
        import nbval.kernel

        nbval.kernel.KernelManager = kernel_manager
    os.environ["VAE_TUTORIAL_MNIST"] = "mnist" if here else "digits"  # for kernels and workers
    os.environ.setdefault("VAE_TUTORIAL_STRICT", "claims")  # a false claim raises


def kernel_manager(**options):
    """The manager of a kernel that needs no ports; the folder of its sockets ends with it."""
    from jupyter_client.manager import KernelManager
    from notebooks import over_files

    folder = tempfile.TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True)
    manager = KernelManager(**over_files(folder.name), **options)
    weakref.finalize(manager, folder.cleanup)
    return manager


def _mnist_is_here():
    from vae_tutorial import data

    try:
        return data.mnist_is_here()
    except data.DataError as error:  # VAE_TUTORIAL_DATA is set, but wrong
        raise pytest.UsageError(str(error)) from error


def _verdict(config):
    if config.stash[STRICT]:
        return "notebooks: strict (MNIST is here)"
    return "notebooks: LAX where MNIST is needed (stand-in data; `make data` fetches it)"


def pytest_report_header(config):
    return _verdict(config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and not hasattr(session.config, "workerinput"):
        reporter.write_line(_verdict(session.config))
    return result


def pytest_collection_modifyitems(items):
    rank = {name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.split("::")[0], len(rank)))


# ------------------------------------------------------------------------------ notebooks
def pytest_collectstart(collector):
    """On the stand-in, a notebook that needs MNIST compares only what does not depend on it."""
    if type(collector).__name__ != "IPyNbFile" or collector.config.stash[STRICT]:
        return
    from notebooks import read

    if read(collector.path).metadata.get("vae", {}).get("data") == "mnist":
        collector.compare_outputs = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    notebook_cell = type(item).__name__ == "IPyNbCell"
    if notebook_cell and item.cell.source.strip() and item.cell.execution_count is None:
        item.raise_cell_error("Never run: nbval would compare nothing")
    result = yield
    if notebook_cell and item.test_outputs is not None:
        compare_pictures(item)
    return result


def _pictures(outputs):
    return [o.data["image/png"] for o in outputs if "image/png" in o.get("data", {})]


def compare_pictures(item):
    """Number and size of a cell's pictures; their pixels too where these can be the same."""
    import matplotlib
    import numpy as np
    from notebooks import decode_png, quantize

    stored, fresh = _pictures(item.cell.outputs), _pictures(item.test_outputs)
    if len(stored) != len(fresh):
        item.raise_cell_error(f"{len(stored)} pictures are stored, but the cell shows {len(fresh)}")
    if matplotlib.__version__ != PINNED:  # another version draws every picture differently
        return
    tags = item.cell.metadata.get("tags", [])
    pixels = "trained-picture" not in tags and (
        item.parent.compare_outputs or "nbval-check-output" in tags
    )
    for number, pair in enumerate(zip(stored, fresh, strict=True), 1):
        old, new = (quantize(decode_png(data)).convert("RGB") for data in pair)
        if old.size != new.size:
            item.raise_cell_error(f"Picture {number}: stored {old.size}, now {new.size}")
        difference = np.abs(np.subtract(old, new, dtype=float)).mean() / 255
        if pixels and not difference <= PICTURE_TOLERANCE:
            item.raise_cell_error(
                f"Picture {number} differs: mean |difference| {difference:.4f} of 1, "
                f"at most {PICTURE_TOLERANCE}"
            )
