# Everything runs in .venv, which is made from pyproject.toml and constraints.txt when they change.
# Needs: Python 3.11 or newer with venv, and a package index.
PYTHON ?= python3
ARGS ?=

.PHONY: help demo test check bench test-peers clean
help:
	@echo "make demo        the methods side by side on a cheetah whose motors fail"
	@echo "make test        the tests (ARGS='-k name' picks some)"
	@echo "make check       linter, formatter, types"
	@echo "make bench       the benchmarks (ARGS go to benchmarks/run.py)"
	@echo "make test-peers  the tests against other libraries, in .venv-peers (installs PyTorch)"
	@echo "make clean       removes the environments, caches and build outputs"

demo: .venv/.installed
	.venv/bin/mole demo $(ARGS)

test: .venv/.installed
	.venv/bin/python -m pytest -n auto --dist loadfile $(ARGS)

check: .venv/.installed
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/pyright

bench: .venv/.installed
	.venv/bin/python benchmarks/run.py $(ARGS)

test-peers: .venv-peers/.installed
	.venv-peers/bin/python -m pytest tests/peers $(ARGS)

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[control,dev]'
	touch $@

.venv-peers/.installed: pyproject.toml constraints.txt constraints-peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-peers.txt \
		-e '.[control,dev]' torch==2.13.0 stable-baselines3
	touch $@

clean:
	rm -rf .venv .venv-peers dist build .pytest_cache .ruff_cache .hypothesis .benchmarks MUJOCO_LOG.TXT
	find src tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +
