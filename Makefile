# Everything that a developer runs. Each target installs what it needs; `make demo` and `make test` are enough to begin.

CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR
PYTHON ?= python3
# Where unsafe code is tested: the names of the modules in `UNSAFE_ALLOWED` of `server/tests/tidy/sources.rs`, or of what calls them.
UNSAFE_MODULES := io:: prefetch::
VENV := $(abspath $(CARGO_TARGET_DIR))/venv
FIRN := $(abspath $(CARGO_TARGET_DIR))/release/firn

.PHONY: demo test test-rust test-asan test-python test-wheel python-client test-clients test-dependencies test-advisories soak fuzz asan bench bench-full docs check

demo:  ## Build and tell the story of a year of flights.
	cargo run --release -- demo

test: test-rust test-asan test-python  ## Every test: engine, server, clients, documentation.

test-rust:
	cargo test --release --workspace --exclude firn-python --lib --bins --tests

test-python: $(VENV)/ready
	cargo build --release --workspace --exclude firn-python
	$(MAKE) python-client
	cd client/python && FIRN_BINARY=$(FIRN) $(VENV)/bin/python -m pytest -q tests

test-wheel: $(VENV)/ready  ## The Python wheel, alone and with old and new libraries, on every Python from 3.10 that is here.
	cargo build --release --workspace --exclude firn-python
	PATH="$(VENV)/bin:$$PATH" FIRN_BINARY=$(FIRN) client/python/tools/test_wheel.sh $(abspath $(CARGO_TARGET_DIR))/wheel

python-client: $(VENV)/ready  ## The Python client of this tree, into the environment of the tests.
	cd client/python && VIRTUAL_ENV=$(VENV) PATH="$(VENV)/bin:$$PATH" maturin develop --release --quiet

AZURITE := $(abspath server/tests/clients/node/node_modules/.bin/azurite-blob)

test-clients:  ## Flight and Flight SQL by clients in Go, Java and Node that know nothing of FirnDB, ice by Spark, Azure by its emulator; it needs Go, Node, and Java with Maven.
	cargo build --release --workspace --exclude firn-python
	cd server/tests/clients/go && FIRN_BINARY=$(FIRN) go test -count=1 ./...
	cd server/tests/clients/java && FIRN_BINARY=$(FIRN) mvn --quiet --batch-mode test \
		-Dfirn.build=$(abspath $(CARGO_TARGET_DIR))/clients-java
	cd server/tests/clients/spark && if mvn --quiet --batch-mode dependency:resolve; \
		then FIRN_BINARY=$(FIRN) mvn --quiet --batch-mode test -Dfirn.build=$(abspath $(CARGO_TARGET_DIR))/clients-spark; \
		else echo "Spark and Delta cannot be had from this machine's Maven repository: their test is left out" >&2; fi
	cd server/tests/clients/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && FIRN_BINARY=$(FIRN) node --test
	FIRN_AZURITE=$(AZURITE) cargo test --release --workspace --exclude firn-python --test doors azure

# What is needed beside the compiler, kept out of the checkout.
TOOLS := $(abspath $(CARGO_TARGET_DIR))/tools
MACHETE_VERSION := 0.9.2
DENY_VERSION := 0.20.2

test-dependencies: $(TOOLS)/cargo-machete-$(MACHETE_VERSION) $(TOOLS)/cargo-deny-$(DENY_VERSION)  ## No crate names a dependency that it does not use; all have a licence and a source that `deny.toml` allows.
	$(TOOLS)/bin/cargo-machete .
	$(TOOLS)/bin/cargo-deny --log-level warn check licenses bans sources

test-advisories: $(TOOLS)/cargo-deny-$(DENY_VERSION)  ## No dependency has a known weakness; it fetches the list of RustSec.
	$(TOOLS)/bin/cargo-deny check advisories

$(TOOLS)/cargo-machete-%:
	CARGO_TARGET_DIR=$(TOOLS)/build cargo install --quiet --locked --debug --root $(TOOLS) --version $* cargo-machete
	touch $@

$(TOOLS)/cargo-deny-%:
	CARGO_TARGET_DIR=$(TOOLS)/build cargo install --quiet --locked --debug --root $(TOOLS) --version $* cargo-deny
	touch $@

$(VENV)/ready: client/python/requirements-test.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet -r client/python/requirements-test.txt
	touch $@

soak: fuzz asan  ## As long as you like: FIRN_HISTORIES random histories, FIRN_SCHEDULES of the bucket, FIRN_KILL_ROUNDS, FIRN_WIPE_ROUNDS, FIRN_FUZZ_SECONDS.
	FIRN_HISTORIES=$${FIRN_HISTORIES:-1000000} FIRN_SCHEDULES=$${FIRN_SCHEDULES:-1000000} FIRN_KILL_ROUNDS=$${FIRN_KILL_ROUNDS:-1000} \
		FIRN_WIPE_ROUNDS=$${FIRN_WIPE_ROUNDS:-1000} cargo test --release --workspace --exclude firn-python

# Both instrument the code, which only a nightly compiler offers by name; the stable one does it when it is told to.
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
FUZZ := $(abspath $(CARGO_TARGET_DIR))/fuzz
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/libfuzzer/targets/*.rs)))

fuzz: $(addprefix fuzz-,$(FUZZ_TARGETS))  ## Every fuzz target under libFuzzer for FIRN_FUZZ_SECONDS (600) each.

fuzz-%: $(FUZZ)/ready
	mkdir -p $(FUZZ)/found/$* fuzz/corpus/$*
	RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(FUZZ)/build PATH="$(FUZZ)/tools/bin:$$PATH" \
		cargo fuzz run --fuzz-dir fuzz/libfuzzer $* $(FUZZ)/found/$* $(FUZZ)/seeds/$* fuzz/corpus/$* -- \
		-max_total_time=$${FIRN_FUZZ_SECONDS:-600} -max_len=65536 -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=128

$(FUZZ)/ready: Cargo.lock $(wildcard fuzz/src/*.rs)
	cargo install --quiet --locked --root $(FUZZ)/tools --version 0.13.2 cargo-fuzz
	FIRN_FUZZ_SEEDS=$(FUZZ)/seeds cargo test --quiet --release --package firn-fuzz --test corpora seeds
	touch $@

ASAN := RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=$(abspath $(CARGO_TARGET_DIR))/asan \
	cargo test --package firn-storage --target $(HOST)

test-asan:  ## The modules with unsafe code under AddressSanitizer.
	$(ASAN) --lib -- $(UNSAFE_MODULES)

asan:  ## The whole engine under AddressSanitizer: its own tests, its promises, FIRN_ASAN_HISTORIES (500) histories.
	FIRN_HISTORIES=$${FIRN_ASAN_HISTORIES:-500} FIRN_SCHEDULES=100 $(ASAN) --lib --test engine -- --skip kill --skip faults

bench:  ## FirnDB, its peers and the limits on the same work; ONLY=join,ingest for some of it.
	cargo build --release --workspace
	$(abspath $(CARGO_TARGET_DIR))/release/firn-bench $(if $(ONLY),--only $(ONLY)) $(BENCH_FLAGS)

bench-full:  ## The same, and what takes long: 100 M rows, data beyond memory, Feast.
	$(MAKE) bench BENCH_FLAGS=--full

docs:  ## The API documentation.
	cargo doc --no-deps --workspace

check:  ## What a change must pass before it is sent.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
