# `make` alone prints the targets. Each of them sets up .venv first, when that is needed.
PYTHON ?= python3
NB     ?=
BIN    := .venv/bin
STAMP  := .venv/.installed
TORCH  := 2.13.0
PIP    := $(BIN)/python -m pip --disable-pip-version-check
ARGS   ?=
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 \
          --dist loadscope --no-loadscope-reorder
.DEFAULT_GOAL := help
.PHONY: help book test quick notebooks checkpoints data check bench serve lock student bugs setup

help:
	@echo "make book         build the book into _build/html"
	@echo "make test         verify everything: every equation, every number, every notebook, every page"
	@echo "make quick        the tests without the notebooks"
	@echo "make notebooks    run the chapters and store their outputs (NB=book/07_vae.ipynb: only that one)"
	@echo "make checkpoints  train the stored models again"
	@echo "make data         fetch MNIST into the cache, checked by its SHA-256"
	@echo "make check        what to run before a commit: ruff, the stored notebooks, the quick tests"
	@echo "make bench        how fast: the book's code beside what one would write instead"
	@echo "make student      copies of the chapters for a class, without solutions, into student/"
	@echo "make bugs         plant known mistakes into the package, one at a time: does a test fail?"
	@echo "make serve        build the book and show it on http://localhost:8000"
	@echo "make lock         write requirements.txt again from pyproject.toml"

setup: $(STAMP)

# The pinned requirements come first: installing the package alone would choose torch freely.
$(STAMP): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	$(PIP) install --quiet --requirement requirements.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	$(PIP) check
	@touch $@

book: $(STAMP)
	$(BIN)/python tools/book.py

# One notebook goes to one worker (loadscope), and each worker computes on one thread.
test: $(STAMP)
	$(PYTEST) $(ARGS)

quick: $(STAMP)
	$(PYTEST) $(ARGS) tests

notebooks: $(STAMP)
	$(BIN)/python tools/notebooks.py run $(NB)

checkpoints: $(STAMP)
	$(BIN)/python tools/checkpoints.py

data: $(STAMP)
	$(BIN)/python -m vae_tutorial.data

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/notebooks.py check
	$(BIN)/python tools/repo_links.py
	$(MAKE) quick

bench: $(STAMP)
	$(BIN)/python benchmarks/bench.py

student: $(STAMP)
	$(BIN)/python tools/student.py

bugs: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tools/plant_bugs.py

serve: book
	$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory _build/html

# A free torch would bring gigabytes of CUDA; a local build tag and a path mean nothing elsewhere.
lock: $(STAMP)
	echo "torch==$(TORCH)" > .venv/constraint.txt
	$(BIN)/pip-compile --quiet --strip-extras --all-extras --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --no-header --no-annotate --constraint .venv/constraint.txt \
	  --output-file requirements.txt pyproject.toml
	sed -e 's/+cpu$$//' -e '/^--/d' -e '/^#/d' -e '/^$$/d' requirements.txt > .venv/requirements.txt
	{ echo "# Exact versions, written by \`make lock\` from pyproject.toml: what the stored outputs were made with."; \
	  cat .venv/requirements.txt; } > requirements.txt
