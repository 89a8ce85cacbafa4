PYTHON ?= python3
VENV ?= .venv
SHELL := /bin/bash
BIN := $(VENV)/bin
# The newest constraints file not newer than this Python.
MINOR := $(shell $(PYTHON) -c 'import sys; print(min(max(sys.version_info[1], 11), 12))')
CONSTRAINTS := constraints/py3$(MINOR).txt
EXTRAS := mujoco,plot,video,onnx,tensorboard,offline,test,lint,docs

.PHONY: demo test coverage lint docs bench conformance clean

demo: $(VENV)/ready
	$(BIN)/softq train sac --env softq/Pendulum-v0 --steps 12000 --num-envs 4 \
	  --algo.hidden 64 64 --algo.lr 1e-3 --learning-starts 1000 --eval-every 2000

test: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 --dist loadfile

coverage: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov=softq --cov-report=term:skip-covered

lint: $(VENV)/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# From nothing but the cells that have run already; then every link is followed.
docs: $(VENV)/ready
	rm -rf docs/_build/html docs/_build/doctrees
	$(BIN)/sphinx-build -W --keep-going -q -d docs/_build/doctrees docs docs/_build/html
	$(BIN)/python docs/check.py docs/_build/html

# Peers live in environments of their own: they pin other versions.
.venv-%/ready: benchmarks/requirements-%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install -q --upgrade pip
	.venv-$*/bin/pip install -q -r benchmarks/requirements-$*.txt
	touch $@

bench: $(VENV)/ready .venv-peers/ready .venv-tables/ready .venv-offline/ready
	$(BIN)/python benchmarks/online.py --peers .venv-peers/bin/python
	$(BIN)/python benchmarks/sql.py --peers .venv-peers/bin/python
	$(BIN)/python benchmarks/tabular.py --peers .venv-tables/bin/python
	$(BIN)/python benchmarks/offline.py --peers .venv-offline/bin/python

conformance: $(VENV)/ready .venv-peers/ready .venv-offline/ready .venv-conformance/ready
	$(BIN)/python -m conformance --write \
	  --library sb3=.venv-peers/bin/python --library sbx=.venv-peers/bin/python \
	  --library d3rlpy=.venv-offline/bin/python \
	  --library torchrl=.venv-conformance/bin/python \
	  --library tianshou=.venv-conformance/bin/python
	for file in conformance/demonstrations/*.py; do \
	  case $$file in */d3rlpy_*) venv=.venv-offline ;; *) venv=.venv-conformance ;; esac; \
	  echo $$file; $$venv/bin/python $$file || true; \
	done

$(VENV)/ready: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q -e ".[$(EXTRAS)]" -c $(CONSTRAINTS)
	touch $@

clean:
	rm -rf docs/_build $(VENV) .venv-peers .venv-tables .venv-offline .venv-conformance
