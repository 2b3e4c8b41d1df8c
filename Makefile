# Everything that a developer runs. Each target installs what it needs; `make demo` and `make test` are enough to begin.

CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR
PYTHON ?= python3
VENV := $(abspath $(CARGO_TARGET_DIR))/venv
FIRN := $(abspath $(CARGO_TARGET_DIR))/release/firn

.PHONY: demo test test-rust test-python soak bench docs check

demo:  ## Build and tell the story of a year of flights.
	cargo run --release -- demo

test: test-rust test-python  ## Every test: engine, server, clients, documentation.

test-rust:
	cargo test --release --workspace --lib --bins --tests

test-python: $(VENV)/ready
	cargo build --release --workspace
	cd client/python && FIRN_BINARY=$(FIRN) $(VENV)/bin/python -m pytest -q tests

$(VENV)/ready: client/python/requirements-test.txt client/python/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet -r client/python/requirements-test.txt
	$(VENV)/bin/python -m pip install --quiet --no-deps -e client/python
	touch $@

soak:  ## As long as you like: FIRN_HISTORIES random histories, FIRN_KILL_ROUNDS kills.
	FIRN_HISTORIES=$${FIRN_HISTORIES:-1000000} FIRN_KILL_ROUNDS=$${FIRN_KILL_ROUNDS:-1000} cargo test --release --workspace

bench:  ## What everything costs: one line per figure.
	cargo run --release -p firn-benches -- $(if $(ONLY),--only $(ONLY))

docs:  ## The API documentation.
	cargo doc --no-deps --workspace

check:  ## What a change must pass before it is sent.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
