# Each target makes the virtual environment it needs; Python 3.11+ and a package index are enough.
PYTHON ?= python3
OLDEST_PYTHON ?= $(PYTHON)
PYTEST_ARGS ?=
# processes that share the test files
PYTEST_JOBS ?= auto
DEMO_ARGS ?=

# an index of wheels to try beside the usual one, see RELEASING.md; without it, test-nightly takes pre-releases
NIGHTLY_INDEX ?=

VENV := .venv
OLDEST_VENV := .venv-oldest
NIGHTLY_VENV := .venv-nightly
WHEEL_VENV := .venv-wheel
# where a virtual environment has its programs; on Windows, run make from Git's bash
BIN := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
# -qq hides the progress, not the errors
INSTALL := -m pip install -qq --disable-pip-version-check
# the lower bounds of pyproject.toml, and the newest of the others that still run on them
OLDEST_PINS := numpy==1.26.4 scipy==1.12.0 scikit-learn==1.6.1 joblib==1.4.2 \
               matplotlib==3.9.4 pyarrow==17.0.0 'pyparsing<3.3' pandas==2.2.3 polars==1.30.0

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-slow test-oldest test-nightly nightly lint docs linkcheck wheel clean

# the problems of the tests are small: BLAS threads cost more than they bring
test test-slow test-oldest test-nightly nightly: export OPENBLAS_NUM_THREADS = 1

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.plot  ## run the experiment and write its report and figures (DEMO_ARGS="--help")
	$(VENV)/$(BIN)/python -m moe_sklearn --overwrite $(DEMO_ARGS)

test: $(VENV)/.test  ## run the fast tests (PYTEST_ARGS="...")
	$(VENV)/$(BIN)/python -m pytest -n $(PYTEST_JOBS) --dist loadfile $(PYTEST_ARGS)

test-slow: $(VENV)/.test  ## run all tests, the slow ones too
	$(VENV)/$(BIN)/python -m pytest -n $(PYTEST_JOBS) --dist loadfile -m "slow or not slow" $(PYTEST_ARGS)

test-oldest: $(OLDEST_VENV)/.test  ## run the fast tests on the oldest supported versions
	$(OLDEST_VENV)/$(BIN)/python -m pytest -n $(PYTEST_JOBS) --dist loadfile $(PYTEST_ARGS)

test-nightly: $(NIGHTLY_VENV)/.test  ## run the fast tests on what numpy, scipy and scikit-learn release next
	$(NIGHTLY_VENV)/$(BIN)/python -m pytest -n $(PYTEST_JOBS) --dist loadfile $(PYTEST_ARGS)

nightly: $(VENV)/.test  ## compare 20,000 random fits with NumPy's, which takes six minutes
	$(VENV)/$(BIN)/python benchmarks/differential.py --cases 20000

lint: $(VENV)/.lint  ## ruff, codespell, mypy, and the types of what users write with mypy and pyright
	$(VENV)/$(BIN)/ruff check .
	$(VENV)/$(BIN)/ruff format --check .
	$(VENV)/$(BIN)/codespell
	$(VENV)/$(BIN)/mypy
	@mkdir -p build
	sed -nE '/^## Quickstart/,/^## [^Q]/s/^(>>>|\.\.\.) ?//p' README.md > build/readme_quickstart.py
	@test -s build/readme_quickstart.py || { echo "README.md has no quickstart" >&2; exit 1; }
	$(VENV)/$(BIN)/mypy tests/support/typing_user_script.py build/readme_quickstart.py
	$(VENV)/$(BIN)/pyright --pythonpath $(VENV)/$(BIN)/python

docs: $(VENV)/.docs  ## build the documentation in docs/_build/html; warnings and broken links are errors
	MPLBACKEND=Agg $(VENV)/$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	$(VENV)/$(BIN)/python docs/check_links.py docs/_build/html
	@echo "open docs/_build/html/index.html"

linkcheck: $(VENV)/.docs  ## look at every link to the web in the documentation, which needs the network
	$(VENV)/$(BIN)/python -m sphinx -q -b linkcheck -D plot_gallery=0 docs docs/_build/linkcheck

wheel: $(VENV)/.wheel  ## build dist/, and try the wheel in an environment of its own
	rm -rf dist
	$(VENV)/$(BIN)/python -m build --outdir dist
	$(call make_venv,$(PYTHON),$(WHEEL_VENV))
	$(WHEEL_VENV)/$(BIN)/python $(INSTALL) dist/*.whl
	$(WHEEL_VENV)/$(BIN)/python -I tests/support/try_wheel.py dist

clean:  ## remove the environments and everything that was built
	rm -rf $(VENV) $(OLDEST_VENV) $(NIGHTLY_VENV) $(WHEEL_VENV) build dist docs/_build docs/generated docs/auto_examples
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call make_venv,PYTHON,FOLDER); a Python without ensurepip lends its own pip
define make_venv
	@$(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "moe-sklearn needs Python 3.11 or newer; $(1) is not: make PYTHON=/path/to/python3.11 ..." >&2; \
	  exit 1; }
	@$(1) -m venv --clear $(2) || { \
	  $(1) -m venv --clear --without-pip $(2) && $(1) -m pip --python $(2)/$(BIN)/python install -q pip; }
endef

$(VENV)/.made: pyproject.toml
	@echo "making $(VENV)"
	$(call make_venv,$(PYTHON),$(VENV))
	@touch $@

# one environment, filled as far as a target needs it
$(VENV)/.%: $(VENV)/.made
	@echo "installing moe-sklearn[$*] in $(VENV)"
	@$(VENV)/$(BIN)/python $(INSTALL) -e ".[$*]"
	@touch $@

$(OLDEST_VENV)/.test: pyproject.toml Makefile
	@$(OLDEST_PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || { \
	  echo "test-oldest needs Python 3.11 or 3.12, which the oldest numpy and scipy have wheels for;" \
	    "$(OLDEST_PYTHON) is not: make test-oldest OLDEST_PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making $(OLDEST_VENV)"
	$(call make_venv,$(OLDEST_PYTHON),$(OLDEST_VENV))
	@$(OLDEST_VENV)/$(BIN)/python $(INSTALL) $(OLDEST_PINS) -e ".[test]"
	@touch $@

$(NIGHTLY_VENV)/.test: pyproject.toml Makefile
	@echo "making $(NIGHTLY_VENV)"
	$(call make_venv,$(PYTHON),$(NIGHTLY_VENV))
	@$(NIGHTLY_VENV)/$(BIN)/python $(INSTALL) --pre $(if $(NIGHTLY_INDEX),--extra-index-url $(NIGHTLY_INDEX)) \
	  numpy scipy scikit-learn
	@$(NIGHTLY_VENV)/$(BIN)/python $(INSTALL) -e ".[test]"
	@touch $@
