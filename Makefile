# virtmark: `make bench` sets up and measures, `make test` sets up and checks.

CARGO ?= cargo
VIRTMARK := target/release/virtmark
RESULTS ?= results
ITERATIONS ?= 10

.PHONY: help
help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what is missing (QEMU, busybox, e2fsprogs, mmdebstrap, a guest kernel)
	@guest/setup.sh

.PHONY: build
build: ## Build the program
	$(CARGO) build --release --locked --bin virtmark

# The id of the run whose JSON is in this file.
run_id = $$(sed -n 's/^ *"run_id": "\(.*\)",*$$/\1/p' $(1))

.PHONY: bench
bench: setup build ## Boot real machines, time them, print tables and write an HTML report
	@mkdir -p $(RESULTS)
	$(VIRTMARK) tti --hypervisor qemu --iterations $(ITERATIONS) --warmup 1 > $(RESULTS)/tti.json
	$(VIRTMARK) lifecycle --hypervisor qemu --iterations 5 > $(RESULTS)/lifecycle.json
	@$(VIRTMARK) --quiet report $(call run_id,$(RESULTS)/tti.json) $(call run_id,$(RESULTS)/lifecycle.json) \
		--title "virtmark on this machine" -o $(RESULTS)/report.html
	@echo "report: $(CURDIR)/$(RESULTS)/report.html"

.PHONY: bench-harness
bench-harness: setup build ## Compare a cold start with a bare qemu-system command line, alternating
	$(CARGO) run --release --locked --package virtmark-driver-qemu --example bench_harness

ROUNDS ?= 20

.PHONY: bench-sandbox
bench-sandbox: setup ## Hold sandboxes to their targets: starts, HTTP, memory, snapshots, bursts
	@mkdir -p $(RESULTS)
	$(CARGO) run --release --locked --package virtmark-sandbox --example bench_sandbox -- $(ROUNDS) \
		> $(RESULTS)/bench-sandbox.json

.PHONY: bench-load-peers
bench-load-peers: ## Install what the load generator is compared with: wrk from Debian, oha from crates.io
	apt-get install --yes --no-install-recommends wrk
	$(CARGO) install oha --locked --root target/tools

.PHONY: bench-load
bench-load: ## Compare the load generator with wrk and oha, alternating, and with its server's log
	@mkdir -p $(RESULTS)
	$(CARGO) build --release --locked --package virtmark-load --bins --examples
	target/release/examples/bench_load > $(RESULTS)/bench-load.json

.PHONY: bench-ssh
bench-ssh: setup ## How long a machine of the image bench takes until its agent, its SSH server and a first command answer
	$(CARGO) run --release --locked --package virtmark-driver-qemu --example bench_ssh -- $(ROUNDS)

.PHONY: lab
lab: setup build ## Start the lab: a machine with KVM, on hosts without (docs/lab.md)
	@guest/setup-lab.sh
	$(VIRTMARK) lab up

.PHONY: lab-test
lab-test: setup ## Everything that claims KVM, on KVM: in the lab, or directly where KVM works
	@lab/test.sh all

.PHONY: lab-test-short
lab-test-short: setup ## What KVM has a part in of the conformance suite, on KVM: what CI does
	@lab/test.sh short

.PHONY: lab-boots
lab-boots: setup ## 100 boots in a row under KVM: none may fail
	@lab/test.sh boots

.PHONY: lab-start-paths
lab-start-paths: setup ## Compare ways to start a guest under KVM, in turn (LAB_ROUNDS, 6)
	@guest/setup-lab.sh
	$(CARGO) run --locked --package virtmark-lab --example start_paths -- $(or $(LAB_ROUNDS),6)

STORE := $(RESULTS)/vmm_metrics

.PHONY: vmm-demo
vmm-demo: setup build ## One machine records itself; then its points and a plot of its CPU time
	@mkdir -p $(RESULTS) && rm -rf $(STORE)
	$(VIRTMARK) capture --duration 18 --store $(STORE) > $(RESULTS)/vmm-demo.json
	$(VIRTMARK) series query $(STORE) 'vcpu_time_seconds_total' --range all --rate --plot $(RESULTS)/vmm-demo.png
	@echo "plot: $(CURDIR)/$(RESULTS)/vmm-demo.png"

.PHONY: vmm-bench-15 vmm-bench-30 vmm-bench-45
vmm-bench-15 vmm-bench-30 vmm-bench-45: vmm-bench-%: setup build
	@mkdir -p $(RESULTS) && rm -rf $(STORE)-$*
	$(VIRTMARK) capture --duration $* --store $(STORE)-$* > $(RESULTS)/vmm-bench-$*.json
	$(VIRTMARK) series query $(STORE)-$* vmm_resident_bytes --range all --format csv > $(RESULTS)/vmm-bench-$*.csv
	@echo "points: $$(($$(wc -l < $(RESULTS)/vmm-bench-$*.csv) - 1))"

.PHONY: vmm-bench-capture
vmm-bench-capture: setup build ## Lives of 15, 30 and 45 s, recorded and scraped, and what is left of them
	@mkdir -p $(RESULTS)
	$(VIRTMARK) capture --duration 15,30,45 > $(RESULTS)/vmm-bench-capture.json

.PHONY: vmm-test
vmm-test: setup ## The tests of the store, the recorder and machines that record themselves
	$(CARGO) nextest run --locked --package virtmark-timeseries --package virtmark-recorder

.PHONY: vmm-clippy
vmm-clippy: ## The lints of the same
	$(CARGO) clippy --locked --package virtmark-timeseries --package virtmark-recorder --all-targets -- -D warnings

.PHONY: payloads
payloads: build ## Pack the payloads that are shipped
	@rm -rf $(RESULTS)/payloads && mkdir -p $(RESULTS)/payloads
	@cd $(RESULTS)/payloads && for payload in $(CURDIR)/payloads/*/; do \
		$(CURDIR)/$(VIRTMARK) payload pack "$$payload" || exit; \
	done

MACHINES ?= 8

.PHONY: fleet-demo
fleet-demo: setup payloads ## A payload on 8 machines (MACHINES) that live for it; what came home is in results/fleet-demo
	@rm -rf $(RESULTS)/fleet-demo $(RESULTS)/fleet-demo.sqlite*
	$(VIRTMARK) kvrun -n $(MACHINES) --exec '$(VIRTMARK) vmrun --archive $(RESULTS)/fleet-demo.sqlite -H $$VIRTMARK_MAP -A $$VIRTMARK_AUTH \
		-o $(RESULTS) -U fleet-demo $(RESULTS)/payloads/boot-facts-*.tgz' > $(RESULTS)/fleet-demo.json
	@cat $(RESULTS)/fleet-demo/fleet-demo-result

PEERS := target/tools/parallel-ssh

.PHONY: bench-fleet-peers
bench-fleet-peers: ## Install what vmrun is compared with: parallel-ssh from PyPI
	python3 -m venv $(PEERS)
	$(PEERS)/bin/pip --quiet --disable-pip-version-check install "parallel-ssh==2.16.0.post1"

FLEET_ROUNDS ?= 5

.PHONY: bench-fleet
bench-fleet: setup build ## Compare vmrun with parallel-ssh, and with scp and ssh, alternating, on 8 machines (MACHINES)
	@mkdir -p $(RESULTS)
	@test -x $(PEERS)/bin/python || { echo "make: parallel-ssh is missing: make bench-fleet-peers" >&2; exit 1; }
	$(VIRTMARK) kvrun -n $(MACHINES) --exec '$(PEERS)/bin/python crates/fleet/benches/peers.py $(VIRTMARK) \
		$(FLEET_ROUNDS)' > $(RESULTS)/bench-fleet.json

.PHONY: lint
lint: ## Check the format, the lints and the documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet

.PHONY: deny
deny: ## Licences, duplicate versions and sources of the dependencies; needs cargo-deny
	@$(CARGO) deny --version >/dev/null 2>&1 || { \
		echo "make: cargo-deny is missing: cargo install cargo-deny --locked" >&2; exit 1; }
	$(CARGO) deny --locked check --deny unmatched-skip bans licenses sources

.PHONY: fuzz
fuzz: ## Every fuzz target for a minute (FUZZ_SECONDS); needs cargo-fuzz and a nightly compiler (docs/fuzzing.md)
	@fuzz/run.sh

.PHONY: test
test: setup lint ## All checks and all tests, real boots included
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --workspace --locked; \
	else \
		echo "make: without cargo-nextest (cargo install cargo-nextest) tests run one after the other"; \
		$(CARGO) test --workspace --locked -- --test-threads=1; \
	fi

CYCLES ?= 1000

.PHONY: soak
soak: setup build ## 200 boots in a row, and 1,000 sandboxes of one service: none may fail or leave anything
	$(VIRTMARK) tti --hypervisor qemu --iterations 200 --warmup 0 --timeout 30s > /dev/null
	$(CARGO) run --release --locked --package virtmark-sandbox --example soak -- --cycles $(CYCLES) \
		--virtmark $(VIRTMARK)

.PHONY: clean
clean: ## Remove what was built and measured
	$(CARGO) clean
	rm -rf $(RESULTS)
