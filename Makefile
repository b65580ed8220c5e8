# Every target sets the machine up first: a virtual environment in .venv with the pinned packages.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# Two tests at a time, or one where there is one core; tests/conftest.py says which go together. PARALLEL= for one.
PARALLEL ?= -n logical --maxprocesses 2 --dist loadscope --no-loadscope-reorder

.PHONY: search test test-fast test-all test-cluster lint bench chaos audit docs lock clean

search: .venv/ready  ## the main job on generated demo data (ARGS="--data DIR" for your own)
	$(BIN)/python search/run.py --space losses $(ARGS)

test: lint  ## everything: ruff, mypy, all tests, and how much of the code they ran (Ray's workers are not counted)
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=
	@$(BIN)/coverage report --sort=cover --skip-covered | head -12
	@echo "covered: $$($(BIN)/coverage report --format=total)%"

test-fast: .venv/ready  ## the inner loop: no test that starts Ray or trains for seconds
	$(BIN)/python -m pytest -m "not slow"

test-all: lint  ## the same with 7,000 cases of fuzzing
	$(BIN)/python -m pytest $(PARALLEL) --hypothesis-profile=all

test-cluster: .venv/ready  ## `ray up` over hosts made of network namespaces; Linux, root, sshd (five minutes)
	$(BIN)/python -m tests.cluster

audit: .venv/ready  ## known vulnerabilities of the installed packages; needs pypi.org
	$(BIN)/uv pip freeze --quiet --python $(BIN)/python --exclude-editable | sed 's/+.*//' >.venv/installed.txt
	$(BIN)/pip-audit --progress-spinner off --strict --requirement .venv/installed.txt --no-deps --disable-pip

docs: .venv/ready  ## the documentation as a site, in site/; a broken link is an error
	$(BIN)/zensical build --strict --clean

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

bench: .venv/ready  ## side-by-side ratios; real photos from ../shared/data/trash or $$TRASH_DATA
	$(BIN)/python -m benchmarks.speed.data_path
	$(BIN)/python -m benchmarks.speed.metric
	$(BIN)/python -m benchmarks.ceilings
	$(BIN)/python -m benchmarks.speed.training
	$(BIN)/python -m benchmarks.speed.preflight
	$(BIN)/python -m benchmarks.search_overhead
	$(BIN)/python -m benchmarks.speed.selection
	$(BIN)/python -m benchmarks.speed.ensemble
	$(BIN)/python -m benchmarks.speed.crf
	$(BIN)/python -m benchmarks.speed.submission
	$(BIN)/python -m benchmarks.replay --seeds 20
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.racing
	$(BIN)/python -m benchmarks.budgets

chaos: .venv/ready  ## 50 searches with random kills and full disks (half an hour, this machine only)
	$(BIN)/python -m benchmarks.chaos

.venv/ready: requirements.txt pyproject.toml
	@sh setup.sh $(PYTHON)

lock:  ## resolve pyproject.toml again for Python 3.10 to 3.13 and write requirements.txt
	@sh lock.sh $(PYTHON)

clean:
	rm -rf .venv site .pytest_cache .mypy_cache .ruff_cache
