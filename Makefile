# Every target is an npm script, so that it runs on the Node 24 of node_modules/.bin (scripts/postinstall links it) and on
# pinned tools, whatever the machine has installed.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install demo run dev console console-test pictures test simulation fuzz conformance client-package check bench gen format tarball proto-bundle sbom licences fresh-machine fresh-test

# Written at the end of every installation, by make or by npm, once it is complete.
installed := node_modules/.installed
npm := npm run --silent

# Built when it is missing, or older than what it is made of.
console := dist/console/index.html

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(installed) ## Install Node 24, libraries and tools into node_modules

demo: $(installed) $(console) ## Run the service with a simulated fleet and a rollout to watch
	@$(npm) demo

run: $(installed) $(console) ## Run the service
	@$(npm) serve

dev: $(installed) ## Run the service and the console, both anew when a file of theirs changes
	@$(npm) dev

console: $(console) ## Build the console, which the service then serves at /

console-test: $(installed) $(console) ## Test the console in a real browser
	@scripts/install-chromium
	@$(npm) test:browser

pictures: $(installed) $(console) ## Take the pictures of the console in docs/console anew
	@scripts/install-chromium
	@$(npm) pictures:console

test: $(installed) ## Run all tests but those in a browser
	@$(npm) test

fresh-test: $(installed) ## Test the installation with the oldest Node.js and npm, from the registry
	@$(npm) test:fresh

simulation: $(installed) ## Play rollouts to 10,000 random fleets in memory, and measure when bad ones are stopped
	@$(npm) simulation

fuzz: export FUZZ_CALLS ?= 100000
fuzz: $(installed) ## Call every RPC at every door with random and damaged messages (FUZZ_CALLS, FUZZ_SEED)
	@$(npm) fuzz

conformance: $(installed) ## Run the published suites of Connect and gRPC against the doors (needs their programs)
	@$(npm) conformance

# Cheap checks first. `make --keep-going check` shows all that is wrong instead of the first fault.
check: check-format check-lint check-types check-proto check-gen check-openapi check-unused check-licences test ## Run everything that must pass before a commit

bench: $(installed) ## Measure throughput and latency against floors
	@$(npm) bench

gen: $(installed) ## Generate gen/ from proto/
	@$(npm) gen

format: $(installed) ## Format sources and protos
	@$(npm) format

tarball: $(installed) ## Make dist/device-ota-VERSION-linux-ARCH.tar.gz, which runs without npm, compiler or network
	@scripts/tarball

proto-bundle: $(installed) ## Make dist/proto-bundle, the contract for protoc and small generators, with the test vectors
	@$(npm) proto:bundle

client-package: $(installed) ## Make dist/device-ota-client-VERSION.tgz, the client and the device library for npm
	@$(npm) client:package

sbom: $(installed) ## Write what the service is made of into dist/sbom, as CycloneDX
	@$(npm) sbom

licences: $(installed) ## List the licences of all packages
	@$(npm) licences

fresh-machine: ## Try the first commands on a fresh Debian 12 and 13 (as root, half an hour)
	@scripts/fresh-machine

check-%: $(installed)
	@echo "check $*"
	@$(npm) check:$*

$(installed): package-lock.json
	@scripts/install

$(console): $(shell find src/console gen -type f) vite.console.config.ts scripts/precompress.ts scripts/without-option-descriptors.ts package-lock.json | $(installed)
	@$(npm) build:console -- --logLevel warn
	@touch $@
