# Needs Python 3.11 or newer with pip and venv, and make. Everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The test workers occupy every core; threads of BLAS would only wait for one.
export OPENBLAS_NUM_THREADS := 1

.PHONY: demo test campaigns lint format docs bench clean

demo: $(INSTALLED)
	@$(BIN)/hydindex demo

test: lint
	$(BIN)/pytest -n auto

# Long campaigns: random histories, kills at every step, a failing client, fuzzing.
campaigns: $(INSTALLED)
	$(BIN)/pytest -n auto -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Writes the site to site/index.html. The variable turns off a notice of the theme's authors.
docs: $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Sizes of the generated libraries, in files; a million needs 8 GB of disk.
FILES ?= 10000 100000
# A labelled library of real thumbnails: a folder with files.json and thumbs/.
CORPUS ?=
# A labelled library of whole videos, to which the model is fitted too.
VIDEOS ?=
LABELLED = $(CORPUS) $(if $(VIDEOS),--videos $(VIDEOS))

bench: $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench,frames]'
	$(BIN)/python benchmarks/shell.py
	$(BIN)/python benchmarks/first_run.py $(CORPUS)
	$(BIN)/python benchmarks/scoring.py $(CORPUS)
	$(BIN)/python benchmarks/descriptors.py $(CORPUS)
	$(BIN)/python benchmarks/accuracy.py $(LABELLED) --plot docs/images/accuracy.png
	$(BIN)/python benchmarks/frames.py $(LABELLED)
	$(BIN)/python benchmarks/scale.py --files $(FILES) --plot docs/images/scale.png

# An interrupted installation leaves no .installed, so the next run starts again.
$(INSTALLED): pyproject.toml constraints.txt
	@echo "Creating $(VENV) and installing hydindex; this takes a few minutes..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
