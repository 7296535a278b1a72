# Two commands are all that a fresh machine needs: make demo, make test. Both begin with make install.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYX := $(shell find gateway protocols risk -name '*.pyx' -o -name '*.pxi' -o -name '*.pxd')

.PHONY: install clients demo test check bench lock clean

install: $(STAMP)

# --no-build-isolation: what builds the kernels is pinned in the lock file too. A failed kernel is no failed install.
$(STAMP): requirements.lock pyproject.toml $(PYX)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@echo "compiling the kernels: two minutes of one core, or none where there is no C compiler"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/margingate kernels
	@touch $@

# Client libraries that others wrote, for tests/peers, in an environment of their own: they pin what they share with us.
clients: .venv-clients/.installed

.venv-clients/.installed: pyproject.toml
	@test -x .venv-clients/bin/python || $(PYTHON) -m venv .venv-clients
	@.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check --group clients
	@touch $@

demo: install
	$(BIN)/margingate demo $(ARGS)

# In two passes: with the kernels that were built, then without them all of protocols and risk, with its coverage. What
# comes near no kernel runs in one of them, see tests/passes.py. Of seeds and examples fewer than there can be:
# `python -m tests.simulator` runs 200 of the one kind, and more of both are these variables. One process more than there
# are cores, since many tests wait for a socket. Modules are compiled once, for all of these processes.
test: install
	PYTHONDONTWRITEBYTECODE= MARGINGATE_PASS=compiled MARGINGATE_SEEDS=$${MARGINGATE_SEEDS:-24} \
		MARGINGATE_FOUR_VENUE_SEEDS=$${MARGINGATE_FOUR_VENUE_SEEDS:-4} \
		$(BIN)/python -m pytest -q -n 3 --dist worksteal $(ARGS)
	PYTHONDONTWRITEBYTECODE= MARGINGATE_PASS=plain MARGINGATE_PURE=1 \
		MARGINGATE_SEEDS=5 MARGINGATE_FOUR_VENUE_SEEDS=1 MARGINGATE_EXAMPLES=25 \
		$(BIN)/python -m pytest -q -n 2 --dist worksteal --cov --cov-branch --cov-report=term --cov-fail-under=95 $(ARGS)

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

bench: install
	$(BIN)/python -m tests.bench $(ARGS)

lock:
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --extra dev --extra build --generate-hashes --allow-unsafe --no-emit-index-url \
		--no-emit-trusted-host --no-emit-find-links --strip-extras --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .venv-clients build *.egg-info $(patsubst %.pyx,%.c,$(filter %.pyx,$(PYX))) $(shell find gateway protocols risk -name '_*.so')
