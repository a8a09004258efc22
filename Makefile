# What one types here. Everything stays inside this directory, but for package caches.
.DEFAULT_GOAL := help
.PHONY: help setup run test test-faults test-batch-faults test-cluster lint bench screenshots clean

UV := .uv/bin/uv
PURCHASES := .venv/bin/purchases
STAMP := .venv/.set-up
# In the same order each time; `pytest` alone shuffles. Bytecode is written also where the
# environment forbids it: to compile the tests takes each process half of its start.
PYTEST := PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest -p no:randomly
FILES := --dist loadfile --no-loadscope-reorder
export UV_PYTHON_DOWNLOADS := never

help:  ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## bring everything into .venv, from the lock, without root

$(STAMP): pyproject.toml uv.lock
	@python=$$(sh scripts/find-python) && { [ -x $(UV) ] || { "$$python" -m venv .uv && .uv/bin/python -m pip install --quiet --require-hashes --requirement scripts/uv.txt; }; } && $(UV) sync --quiet --frozen --all-extras --all-groups --compile-bytecode --python "$$python"
	@.venv/bin/python -m compileall -q assets orchestration streaming
	@touch $@

run: $(STAMP)  ## set up if needed, then the demonstration, until Ctrl-C
	$(PURCHASES) up --demo

# Six processes keep two cores busy: most tests wait for processes of their own.
# With COVERAGE=1 it takes half as long again, so by itself it measures nothing.
test: $(STAMP)  ## the whole test suite; COVERAGE=1 requires its branch coverage too, PURCHASES_TEST_DATABASE=postgres stores into PostgreSQL
	@sh scripts/need-packages chromium=chromium mount=mount nginx=nginx pg_ctlcluster=postgresql promtool=prometheus redis-server=redis-server
	$(PYTEST) $(FILES) -n 6 $(if $(COVERAGE),--cov --cov-report=term:skip-covered)

test-faults: $(STAMP)  ## all fault injections into the stream, the long ones too
	@sh scripts/need-packages chromium=chromium javac=default-jdk-headless mount=mount
	$(PYTEST) $(FILES) -n 2 -m "faults or injection" --ignore tests/orchestration

# Alone on the machine: within how many minutes days are current again is what it judges.
test-batch-faults: $(STAMP)  ## the long fault injections into Dagster and the batch half
	$(PYTEST) -m faults tests/orchestration

# Alone on the machine, as within three minutes all is current; on a busy one with TESTS_RATE=300.
test-cluster: $(STAMP)  ## two hosts on three brokers with logins, PostgreSQL, Redis: each part is killed
	@sh scripts/need-packages redis-server=redis-server
	$(PYTEST) -m cluster -o faulthandler_timeout=1860 tests/cluster

lint: $(STAMP)  ## ruff, mypy, import contracts
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: $(STAMP)  ## measure; writes docs/benchmarks.md
	.venv/bin/python -m benchmarks.bench

screenshots: $(STAMP)  ## photograph the demonstration into docs/images
	@sh scripts/need-packages chromium=chromium
	.venv/bin/python -m tests.docs.screenshots

clean:  ## remove what was built or fetched; .purchases/ stays
	rm -rf .venv .uv .pytest_cache .hypothesis .mypy_cache .ruff_cache dist
