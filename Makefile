# Everything runs in .venv, which is made from pyproject.toml and constraints.txt when they change.
# Needs: Python 3.11 or newer with venv, and a package index.
PYTHON ?= python3
ARGS ?=

.PHONY: help demo test check docs installed coverage bench bench-peers bench-streams torture soak priors test-peers test-distributed audit fuzz mutants clean
help:
	@echo "make demo        the methods side by side on a cheetah whose motors fail"
	@echo "make test        the tests (ARGS='-k name' picks some)"
	@echo "make check       linter, formatter, types, known vulnerabilities of what is pinned"
	@echo "make docs        the site of the documents, in site/, from the pages in docs/ and the docstrings"
	@echo "make installed   builds the package, installs it without extras in a fresh environment and uses it"
	@echo "make coverage    the tests, and which lines of the package they run"
	@echo "make fuzz        a million hostile files for every reader (an hour; stop and go on), in .venv-fuzz"
	@echo "make mutants     changes the files that matter most, one thing at a time; the tests must notice (hours)"
	@echo "make bench       the benchmarks, in 10 minutes (ARGS='--quick', '--only planning,streams')"
	@echo "make bench-peers the libraries that make bench compares with, in .venv-bench-peers (installs PyTorch)"
	@echo "make bench-streams  our estimators beside river, scikit-learn and others on all streams (hours; stop and go on)"
	@echo "make torture     kills the commands 200 times, goes on, and compares (stop and go on; ARGS='--kills 500')"
	@echo "make soak        ten million updates of both mixtures with faults in their data (an hour; stop and go on)"
	@echo "make test-peers  the tests against other libraries, in .venv-peers and .venv-ns-gym (installs PyTorch)"
	@echo "make test-distributed  the tests on Ray clusters of this machine, in .venv-ray"
	@echo "make priors      trains all priors of the package again (hours; stop and go on at will)"
	@echo "make clean       removes the environments, caches and build outputs"

demo: .venv/.installed
	.venv/bin/mole demo $(ARGS)

test: .venv/.installed
	.venv/bin/python -m pytest -n auto --dist loadfile $(ARGS)

# zensical has its own environment, since its requirements are none of ours. It reads the docstrings without importing mole;
# the options of the commands come from the commands. A broken link fails it, and so does a warning
# (griffe only prints its own).
docs: .venv/.installed .venv-docs/.installed
	.venv/bin/python docs/build_site.py pages
	.venv-docs/bin/zensical build --clean --strict >build/docs.log 2>&1; status=$$?; cat build/docs.log; exit $$status
	@! grep '^griffe:' build/docs.log
	.venv/bin/python docs/build_site.py finish

installed: .venv/.installed
	bash .ci/installed

coverage: .venv/.installed
	.venv/bin/python -m pytest -n auto --dist loadfile --cov --cov-report=term-missing:skip-covered --cov-fail-under=95 $(ARGS)

check: .venv/.installed
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/pyright
	.venv/bin/python -m fuzz.audit

audit: .venv/.installed
	.venv/bin/python -m fuzz.audit

# Ours first, then two engines that think up inputs by themselves. ARGS='--inputs N' and such go to ours.
fuzz: .venv-fuzz/.installed
	.venv-fuzz/bin/python -m fuzz.run $(ARGS)
	.venv-fuzz/bin/python -m fuzz.with_hypothesis
	.venv-fuzz/bin/python -m fuzz.with_atheris

mutants: .venv/.installed
	.venv/bin/python -m fuzz.mutants $(ARGS)

bench: .venv/.installed
	.venv/bin/python -m benchmarks.run --out results/bench $(ARGS)

bench-peers: .venv-bench-peers/.installed

bench-streams: .venv/.installed
	.venv/bin/python -m benchmarks.streams $(ARGS)

torture: .venv/.installed
	.venv/bin/python -m benchmarks.torture $(ARGS)

soak: .venv/.installed
	.venv/bin/python -m benchmarks.soak $(ARGS)

# Each family in runs/priors/FAMILY; a training that is there is not done again.
PRIORS = motors=half_cheetah_motors motors-few=half_cheetah_motors_few motors-upright=half_cheetah_motors_upright terrain=half_cheetah_terrain crawler=crawler_legs
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

test-distributed: .venv-ray/.installed
	.venv-ray/bin/python -m pytest tests/distributed $(ARGS)

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[control,streams,minari,dev]'
	touch $@

.venv-docs/.installed: constraints-docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-docs.txt \
		zensical mkdocstrings-python ruff
	touch $@

.venv-peers/.installed: pyproject.toml constraints.txt constraints-peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-peers.txt \
		-e '.[control,dev]' torch==2.13.0 stable-baselines3 rliable
	touch $@

.venv-ray/.installed: pyproject.toml constraints.txt constraints-ray.txt
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-ray.txt \
		-e '.[control,distributed]' pytest pytest-timeout hypothesis beartype
	touch $@

# NS-Gym wants a MuJoCo older than ours: hence no extra `control` here.
.venv-ns-gym/.installed: pyproject.toml constraints-ns-gym.txt
	$(PYTHON) -m venv .venv-ns-gym
	.venv-ns-gym/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-ns-gym.txt \
		-e . ns-gym torch==2.13.0 pytest beartype hypothesis
	touch $@

# Their own requirements exclude each other, PyTorch 2.13 and Python 3.11: hence no dependencies in the second line.
# learn2learn is left out where it does not compile.
.venv-bench-peers/.installed: constraints-bench-peers.txt
	$(PYTHON) -m venv .venv-bench-peers
	.venv-bench-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-bench-peers.txt \
		torch==2.13.0 torchopt river pandas hydra-core gymnasium tqdm ordered-set sortedcontainers termcolor pytest \
		scikit-learn torchviz
	.venv-bench-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		deep-river==0.3.4 mbrl==0.2.0
	-.venv-bench-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps learn2learn==0.2.0 \
		|| echo "learn2learn does not install here; its rows are skipped"
	touch $@

# atheris is a fuzzer with wheels for few Pythons: without it the third engine says so and is left out.
.venv-fuzz/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e '.[control,parquet]' hypothesis
	-.venv-fuzz/bin/python -m pip install --quiet --disable-pip-version-check atheris==3.0.0
	touch $@

clean:
	rm -rf .venv .venv-peers .venv-bench-peers .venv-ns-gym .venv-ray .venv-fuzz .venv-docs .venv-audit dist build site .pytest_cache .ruff_cache .hypothesis MUJOCO_LOG.TXT
	find src tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +
