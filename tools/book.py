"""Build the book into _build/html: from nothing if anything has changed, else not at all.

    python tools/book.py

Sphinx builds only the pages that changed, and a page that did not change keeps the numbers that the
equations of other pages had. So there are two cases and nothing between them. What takes time is
kept elsewhere: formulas that were set before (`_build/.typeset.json`).
"""

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INPUTS = ("book", "vae_tutorial", "_config.yml", "_toc.yml", "requirements.txt")
LEFT_OVER = ("html", ".doctrees", "jupyter_execute")  # of an earlier build


def inputs(root):
    """Every file that the book is made of."""
    for name in INPUTS:
        path = root / name
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (
            file
            for file in found
            if file.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(file.parts)
        )


def digest(root):
    """A number that changes when a file is changed, added, moved or removed."""
    whole = hashlib.sha256()
    for file in inputs(root):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        whole.update(f"{file.relative_to(root)} {content}\n".encode())
    return whole.hexdigest()


def command(root):
    """How the book is built."""
    tool = Path(sys.executable).with_name("jupyter-book")
    return [
        *(str(tool), "build", str(root / "book")),
        *("--config", str(root / "_config.yml"), "--toc", str(root / "_toc.yml")),
        *("--path-output", str(root), "-W", "-n", "--keep-going"),
    ]


def build(root, run=subprocess.call):
    """Build the book of a checkout; returns the exit status."""
    out = root / "_build"
    mark, now = out / ".inputs", digest(root)
    if mark.exists() and mark.read_text() == now and (out / "html" / "index.html").exists():
        print("The book is up to date: _build/html/index.html")
        return 0
    mark.unlink(missing_ok=True)
    for name in LEFT_OVER:
        shutil.rmtree(out / name, ignore_errors=True)
    start = time.perf_counter()
    status = run(command(root))
    if status == 0:
        mark.write_text(now)
        print(f"Built in {time.perf_counter() - start:.1f} s: _build/html/index.html")
    return status


if __name__ == "__main__":
    sys.exit(build(ROOT))
