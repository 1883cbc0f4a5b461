# Every chore in one command; CI calls the same. `make help` lists them.
VENV ?= .venv
FLAVOUR ?= cpu
PORT ?= 8000
ONCE ?=
# For benchmarks: bundles to measure on besides synthetic catalogues, and further arguments.
BUNDLES ?=
ARGUMENTS ?=
TOOLS := .cache/tools
PYTHON := $(VENV)/bin/python
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# PyTorch's own index has the small CPU build; where it cannot be reached pip takes what it finds locally.
NATIVE := $(wildcard causalrec/kernels/*.cpp causalrec/kernels/*.inc)
TORCH := torch==2.13.0
FAISS_GPU := faiss-gpu==1.15.1
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: help demo test check format unit install constraints clean bench bench-kernels bench-recall bench-agreement \
	bench-paths bench-service bench-soak bench-peer bench-startup bench-durability bench-outage bench-gpu retrain \
	demo-experiment prove-experiments bench-experiment-outage bench-swap tools dashboards images compose-test compare-quick \
	compare-peers bench-trainer study-debiasing

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

demo: $(VENV)/.$(FLAVOUR) ## make the simulated shop, train, export, serve, show one user's list (ONCE=1: then stop)
	$(PYTHON) -m training.demo --port $(PORT) $(if $(ONCE),--once)

retrain: $(VENV)/.$(FLAVOUR) ## close the loop: serve the shop, post its visitors' events, export them, train on them
	$(PYTHON) -m training.retrain_demo

compare-quick: $(VENV)/.$(FLAVOUR)-test ## every model on a small simulated shop, and the report: five minutes (`python -m training compare` for your data)
	OMP_NUM_THREADS=1 $(PYTHON) -m training compare --quick --jobs 2 $(ARGUMENTS)

demo-experiment: $(VENV)/.$(FLAVOUR) ## an A/B test of λ2 on the simulated shop, over HTTP: traffic, report, the truth beside it
	$(PYTHON) -m training.experiment_demo --port $(PORT) $(if $(ONCE),--once) $(ARGUMENTS)

test: check unit ## every check, and the test suite

check: $(VENV)/.$(FLAVOUR)-test ## format, lint, types, import rules
	ruff format --check .
	ruff check .
	mypy
	lint-imports --no-logo

unit: $(VENV)/.$(FLAVOUR)-test $(TOOLS)/.made ## the test suite alone
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest

format: $(VENV)/.$(FLAVOUR)-test ## put the code into its format
	ruff format .
	ruff check --fix .

bench: $(VENV)/.$(FLAVOUR)-test ## kernels at 50k and 500k items, 4 minutes; prints a Markdown table for docs/LOG.md
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.kernels --items 50000 500000 --budget 12 $(ARGUMENTS)

bench-kernels: $(VENV)/.$(FLAVOUR)-test ## the same with 5M items and numba, 20 minutes
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.kernels --items 50000 500000 --kinds scan int8 flat sq8 pq --numba $(ARGUMENTS)
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.kernels --items 5000000 --kinds scan int8 pq $(ARGUMENTS)

bench-recall: $(VENV)/.$(FLAVOUR)-test ## recall and certificate at every λ2 (BUNDLES=)
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.recall $(BUNDLES)

bench-agreement: $(VENV)/.$(FLAVOUR)-test ## 1,000 random questions per model against float64 (BUNDLES=)
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.agreement $(BUNDLES)

bench-paths: $(VENV)/.$(FLAVOUR)-test ## the λ2-path against float64 (BUNDLES=)
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.paths $(BUNDLES)

bench-service: $(VENV)/.$(FLAVOUR)-test ## throughput, latency and CPU over HTTP (needs wrk)
	$(PYTHON) -m benchmarks.load $(BUNDLES)

bench-soak: $(VENV)/.$(FLAVOUR)-test ## 64 clients for a minute, then ten times too many
	$(PYTHON) -m benchmarks.soak

bench-peer: $(VENV)/.$(FLAVOUR)-test ## beside cornac's server, in an environment of its own (needs wrk)
	$(PYTHON) -m benchmarks.peer_cornac

bench-startup: $(VENV)/.$(FLAVOUR)-test ## memory per user and item, start to ready
	$(PYTHON) -m benchmarks.startup --items 50000 500000 5000000

bench-durability: $(VENV)/.$(FLAVOUR)-test ## 100,000 events while Redis and the service are killed: is every one there?
	$(PYTHON) -m benchmarks.durability $(ARGUMENTS)

bench-outage: $(VENV)/.$(FLAVOUR)-test ## answers while Redis is frozen and dead; two services on one Redis
	$(PYTHON) -m benchmarks.outage $(ARGUMENTS)

study-debiasing: $(VENV)/.$(FLAVOUR)-test ## what λ2 buys in simulated shops, and why: 75 trainings, an hour
	OMP_NUM_THREADS=1 $(PYTHON) -m training.studies.debiasing --out docs/results/debiasing-shop.md $(ARGUMENTS)

bench-trainer: $(VENV)/.$(FLAVOUR)-test ## an epoch, and the time to the same AUC, beside cornac's trainer, in an environment of its own
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.trainer $(ARGUMENTS)

compare-peers: $(VENV)/.$(FLAVOUR)-test ## cornac's models beside a comparison (ARGUMENTS="--config FILE --data DIR --out DIR")
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.peer_quality $(ARGUMENTS)

bench-experiment-outage: $(VENV)/.$(FLAVOUR)-test ## experiments under load while Redis is dead for a minute: is every record there?
	$(PYTHON) -m benchmarks.experiment_outage $(ARGUMENTS)

bench-swap: $(VENV)/.$(FLAVOUR)-test ## 20 swaps and rollbacks under load, bad bundles offered, SIGTERM, SIGKILL
	$(PYTHON) -m benchmarks.swap $(ARGUMENTS)

prove-experiments: $(VENV)/.$(FLAVOUR)-test ## are the statistics right? A/A, A/B and beyond, in process, 30 minutes
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.experiments.aa $(ARGUMENTS)
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.experiments.ab $(ARGUMENTS)
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.experiments.beyond $(ARGUMENTS)

bench-gpu: $(VENV)/.$(FLAVOUR)-test ## the exact scan on a GPU: GB/s, and against eager torch
	$(PYTHON) -m benchmarks.gpu

images: ## build the images of service and trainer, and their SBOM (needs docker; FLAVOUR=gpu for CUDA)
	FLAVOUR=$(FLAVOUR) docker/images.sh

compose-test: ## does docker compose do what it says? Builds nothing; 5 minutes (needs docker, and the images)
	python3 -m tests.containers

dashboards: ## write Grafana's dashboards from their code
	cd docker/observability && python3 -m dashboards

tools: $(TOOLS)/.made ## judges of manifests and images, in an environment of their own

# They pin what the project does not.
$(TOOLS)/.made: tests/deploy/tools.txt
	test -x $(TOOLS)/bin/python || python3 -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --requirement tests/deploy/tools.txt
	touch $@

install: $(VENV)/.$(FLAVOUR)-test ## the virtual environment with everything for development
	pre-commit install

# torch first, by itself: any later step that asks for torch then finds it and fetches no CUDA.
$(VENV)/.torch-cpu:
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --no-deps --retries 1 --timeout 15 --index-url $(TORCH_CPU_INDEX) $(TORCH)
	touch $@

$(VENV)/.torch-gpu:
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install $(subst ==,===,$(TORCH)) # === takes no local +cpu build
	touch $@

$(VENV)/.$(FLAVOUR): $(VENV)/.torch-$(FLAVOUR) pyproject.toml constraints.txt $(NATIVE)
	$(PYTHON) -m pip install -c constraints.txt -e ".[$(FLAVOUR)]"
	touch $@

$(VENV)/.$(FLAVOUR)-test: $(VENV)/.torch-$(FLAVOUR) pyproject.toml constraints.txt $(NATIVE)
	$(PYTHON) -m pip install -c constraints.txt -e ".[$(FLAVOUR),test]"
	touch $(VENV)/.$(FLAVOUR) $@

constraints: ## compile constraints.txt anew (needs pip-tools)
	echo "$(TORCH)" > .torch.in
	pip-compile --quiet --strip-extras --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--extra cpu --extra test --output-file constraints.txt pyproject.toml .torch.in
	sed -i 's/+cpu$$//' constraints.txt
	sed -i '/^faiss-cpu/a $(FAISS_GPU)' constraints.txt
	rm .torch.in

clean: ## remove what was made: environment, caches, bundles
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis bundles runs
