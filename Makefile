# Needs CPython 3.11 or newer with its headers, a C compiler and make. Everything else goes into VENV,
# which is brought up to date before each command.
#
#   make demo      the same asyncio program, and an aiohttp server by HTTP and HTTPS, on asyncio and on fastloop
#   make test      the tests            (one folder or test of them: make test TESTS=tests/unit)
#   make peers     uvloop's, uvicorn's, aiohttp's and anyio's own tests, which it fetches, on fastloop
#   make lint      style and types
#   make format    bring the sources into the style
#   make bench     the pytest-benchmark suites
#   make clean

PYTHON ?= python3
VENV ?= .venv
TESTS ?= tests
RUN := $(VENV)/bin/python

# Folders are named too: their time changes when a file goes.
SOURCES := $(shell find src python setup.py pyproject.toml -not -path '*/__pycache__*')
C_FILES := $(shell find src tests benchmarks -name '*.[ch]' -not -path '*/vendor/*')

.DELETE_ON_ERROR:
.PHONY: demo test peers lint format bench clean

demo: $(VENV)/installed
	$(RUN) benchmarks/demo.py

test: $(VENV)/installed
	$(RUN) -m pytest $(TESTS)

peers: $(VENV)/installed
	$(RUN) tests/peers/run.py uvloop uvicorn aiohttp anyio

lint: $(VENV)/installed
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(VENV)/bin/clang-format --dry-run -Werror $(C_FILES)
	$(RUN) -m mypy
	$(RUN) -m mypy.stubtest fastloop --allowlist tests/typing/stubtest-allowlist

format: $(VENV)/tools
	$(RUN) -m ruff check --fix
	$(RUN) -m ruff format
	$(VENV)/bin/clang-format -i $(C_FILES)

bench: $(VENV)/installed
	$(RUN) -m pytest benchmarks

clean:
	rm -rf $(VENV) .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/tools: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fastloop needs Python 3.11 or newer")'
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install --quiet -r requirements-dev.txt
	@touch $@

$(VENV)/installed: $(VENV)/tools $(SOURCES)
	$(RUN) -m pip install --quiet --no-build-isolation --no-deps --force-reinstall .
	@touch $@
