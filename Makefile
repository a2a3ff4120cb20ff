# virtmark: `make bench` sets up and measures, `make test` sets up and checks.

CARGO ?= cargo
VIRTMARK := target/release/virtmark
RESULTS ?= results
ITERATIONS ?= 10

.PHONY: help
help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what is missing (QEMU, busybox, e2fsprogs, a guest kernel)
	@guest/setup.sh

.PHONY: build
build: ## Build the program
	$(CARGO) build --release --locked --bin virtmark

.PHONY: bench
bench: setup build ## Boot real machines, time them, print tables and write an HTML report
	@mkdir -p $(RESULTS)
	$(VIRTMARK) tti --hypervisor qemu --iterations $(ITERATIONS) --warmup 1 > $(RESULTS)/tti.json
	$(VIRTMARK) lifecycle --hypervisor qemu --iterations 5 > $(RESULTS)/lifecycle.json
	$(VIRTMARK) report "$$(jq -r .run_id $(RESULTS)/tti.json)" "$$(jq -r .run_id $(RESULTS)/lifecycle.json)" -o $(RESULTS)/report.html

.PHONY: bench-harness
bench-harness: setup build ## Compare a cold start with a bare qemu-system command line, alternating
	$(CARGO) run --release --locked --package virtmark-driver-qemu --example bench_harness

.PHONY: lint
lint: ## Check the format, the lints and the documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet

.PHONY: test
test: setup lint ## All checks and all tests, real boots included
	$(CARGO) nextest run --workspace --locked

.PHONY: soak
soak: setup build ## 200 boots in a row: none may hang
	$(VIRTMARK) tti --hypervisor qemu --iterations 200 --warmup 0 > /dev/null

.PHONY: clean
clean: ## Remove what was built and measured
	$(CARGO) clean
	rm -rf $(RESULTS)
