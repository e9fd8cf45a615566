# make run    the main job: EVE beside its twin and NeuralForecast's models (DATA=folder for ETTh1)
# make test   lint, types and tests
# make lint   ruff and mypy alone
# make test-spark  the Spark path, in an environment of its own (.venv-spark; needs Java 17)
# JOBS=N      processes of the tests (2; 0: none)
# TORCH_INDEX=URL installs torch from that index: on Linux, PyPI's torch brings CUDA, gigabytes that no test needs
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test test-spark lint clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

run: $(STAMP)
	$(BIN)/vdn-forecast demo $(if $(DATA),--data $(DATA))

test: lint
	$(BIN)/python -m pytest -m "not slow" -n $(JOBS) --dist loadfile

# pyspark is kept out of [dev]: what it wants of pandas and pyarrow is not what the rest is tested with
test-spark:
	test -x .venv-spark/bin/python || $(PYTHON) -m venv .venv-spark
	.venv-spark/bin/python -m pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	.venv-spark/bin/python -m pip install --quiet --constraint constraints.txt --editable . 'neuralforecast[spark]' pytest
	.venv-spark/bin/python -m pytest tests/spark

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .venv-spark
