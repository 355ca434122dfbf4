# Everything runs in .venv, which is made from pyproject.toml and constraints.txt when they change.
# Needs: Python 3.11 or newer with venv, and a package index.
PYTHON ?= python3
ARGS ?=

.PHONY: help demo test check bench bench-streams soak priors test-peers clean
help:
	@echo "make demo        the methods side by side on a cheetah whose motors fail"
	@echo "make test        the tests (ARGS='-k name' picks some)"
	@echo "make check       linter, formatter, types"
	@echo "make bench       the benchmarks (ARGS go to benchmarks/run.py)"
	@echo "make bench-streams  our estimators beside river, scikit-learn and others on all streams (hours; stop and go on)"
	@echo "make soak        ten million updates of both mixtures with faults in their data (an hour; stop and go on)"
	@echo "make test-peers  the tests against other libraries, in .venv-peers and .venv-ns-gym (installs PyTorch)"
	@echo "make priors      trains all priors of the package again (hours; stop and go on at will)"
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

bench-streams: .venv/.installed
	.venv/bin/python -m benchmarks.streams $(ARGS)

soak: .venv/.installed
	.venv/bin/python benchmarks/soak.py $(ARGS)

# Each family in runs/priors/FAMILY; a training that is there is not done again.
PRIORS = motors=half_cheetah_motors motors-few=half_cheetah_motors_few terrain=half_cheetah_terrain crawler=crawler_legs
priors: .venv/.installed
	@set -e; for pair in $(PRIORS); do \
		family=$${pair%%=*}; stem=src/mole/assets/$${pair#*=}; \
		.venv/bin/mole train $$family --out runs/priors/$$family $(ARGS); \
		cp runs/priors/$$family/prior.mole $$stem.mole; \
		cp runs/priors/$$family/supervised.mole $${stem}_supervised.mole; \
	done

test-peers: .venv-peers/.installed .venv-ns-gym/.installed
	.venv-peers/bin/python -m pytest tests/peers --ignore tests/peers/test_ns_gym.py $(ARGS)
	.venv-ns-gym/bin/python -m pytest tests/peers/test_ns_gym.py $(ARGS)

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[control,streams,minari,dev]'
	touch $@

.venv-peers/.installed: pyproject.toml constraints.txt constraints-peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-peers.txt \
		-e '.[control,dev]' torch==2.13.0 stable-baselines3 rliable
	touch $@

# NS-Gym wants a MuJoCo older than ours: hence no extra `control` here.
.venv-ns-gym/.installed: pyproject.toml constraints-ns-gym.txt
	$(PYTHON) -m venv .venv-ns-gym
	.venv-ns-gym/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-ns-gym.txt \
		-e . ns-gym torch==2.13.0 pytest beartype hypothesis
	touch $@

clean:
	rm -rf .venv .venv-peers .venv-ns-gym dist build .pytest_cache .ruff_cache .hypothesis .benchmarks MUJOCO_LOG.TXT
	find src tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +
