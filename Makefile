# The commands of golb. Each sets up what it needs in .venv; python3 (3.11 or newer), pip and venv are all it takes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
IMAGE ?= edgebench/go-load-balancer
TAG ?= latest
SECONDS ?= 600
WORKERS ?= 4
PLATFORMS ?= linux/amd64,linux/arm64,linux/arm/v7

.DEFAULT_GOAL := all
.PHONY: all run test test-compiled check fmt bench chaos harm fuzz build docker docker-release clean

all: test build

# One stamp for each dependency group, so that `make run` does not install what only tests need.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

$(VENV)/.demo $(VENV)/.test $(VENV)/.dev $(VENV)/.bench $(VENV)/.fuzz: $(VENV)/.%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable . --group $*
	@touch $@

run: $(VENV)/.demo
	exec $(BIN)/python -m demo

# make test WORKERS=4 PYTEST_ARGS="-q tests/e2e"; with WORKERS=0 all run in one process, as a debugger needs it
# The tests of a file run in order in one process. Files begin in the order in which they were found, which has those that
# take long first; xdist's own order would have them last, as they hold few tests.
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(VENV)/.test
	$(PYTEST) $(PYTEST_ARGS)

# What mypyc makes lies beside its source and is imported in its place. So it is made in a copy, and the checkout stays as it is.
COPY := build/compiled
COPY_TRACKED := git ls-files -z | tar --create --null --files-from=- | tar --extract --directory=$(COPY)
# Of what is compiled; a list that differs, as a file has gone, makes it anew. Why CFLAGS, pyproject.toml says.
SOURCES := $(shell git ls-files golb pyproject.toml README.md 2>/dev/null)

$(COPY)/.made: $(SOURCES) $(COPY).sources | $(BIN)/python
	rm -rf $(COPY)
	mkdir -p $(COPY)
	$(COPY_TRACKED)
	cd $(COPY) && HATCH_BUILD_HOOK_ENABLE_MYPYC=1 CFLAGS=-fno-semantic-interposition $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	@touch $@

$(COPY).sources: FORCE
	@mkdir -p $(@D)
	@echo '$(SOURCES)' | cmp --silent - $@ || echo '$(SOURCES)' > $@

FORCE:

# make test-compiled takes what make test does, and runs the same tests on golb as mypyc compiles it
test-compiled: export PYTHONPATH = $(abspath $(COPY))
test-compiled: $(VENV)/.test $(COPY)/.made
	rm -rf $(COPY)/tests $(COPY)/benchmarks $(COPY)/demo $(COPY)/deploy
	$(COPY_TRACKED)
	cd $(COPY) && $(BIN)/python -c 'import golb.handlers.wrr as wrr; print("on", wrr.__file__); assert wrr.__file__.endswith(".so")'
	cd $(COPY) && $(PYTEST) $(PYTEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy golb demo tests benchmarks
	$(PYTEST) $(PYTEST_ARGS)

fmt: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# make bench PEERS=golb,nginx CONNECTIONS=64 ROUNDS=3; BENCH_ARGS takes the rest (python -m benchmarks --help)
bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(if $(PEERS),--peers $(PEERS)) $(if $(CONNECTIONS),--connections $(CONNECTIONS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(BENCH_ARGS)

# make chaos SECONDS=120 SEED=7; CHAOS_ARGS takes the rest (--help)
chaos: $(VENV)/.test
	PYTHONPATH=tests $(BIN)/python -m chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(CHAOS_ARGS)

# make harm SCENARIO=failing; HARM_ARGS takes the rest (--help)
harm: $(VENV)/.test
	PYTHONPATH=tests $(BIN)/python -m harm $(or $(SCENARIO),all) $(HARM_ARGS)

# make fuzz TARGET=connection SECONDS=3600; FUZZ_ARGS takes the rest (--help)
fuzz: $(VENV)/.fuzz
	PYTHONPATH=tests $(BIN)/python -m fuzz $(TARGET) --seconds $(SECONDS) $(FUZZ_ARGS)

# make build COMPILED=1 makes the wheel for this machine's Python that the image has; it takes a C compiler
ifeq ($(COMPILED),1)
build: $(COPY)/.made
	mkdir -p dist
	cp $(COPY)/dist/*.whl dist
else
build: $(BIN)/python
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
endif

docker:
	docker build --tag $(IMAGE):$(TAG) .

# make docker-release VERSION=0.1.0
docker-release:
	@test -n "$(VERSION)" || { echo "docker-release: say which: make docker-release VERSION=0.1.0" >&2; exit 2; }
	docker buildx build --build-arg VERSION=$(VERSION) --platform $(PLATFORMS) --tag $(IMAGE):$(VERSION) --tag $(IMAGE):latest --push .

clean:
	rm -rf $(VENV) build dist
