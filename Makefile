.DEFAULT_GOAL := help
.PHONY: help demo down test test-long test-foreign test-docker check manifests observability attack chaos cluster-test scaling-test fuzz bench bench-quick profile docs deps fmt clean

help: ## List what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

demo: ## Show the main job: servers, a worker, requests, replies, rows
	@scripts/demo

down: ## Stop and remove what `make demo` has started
	@scripts/demo down

test: ## Check everything, with servers (containers or processes) that are removed afterwards
	@scripts/test

test-long: ## The tests that take longest: servers that go away, long matrices, memory
	@scripts/test --long

test-foreign: ## Programs of others: clients in other languages and protocols, validators, PgBouncer, manifests
	@scripts/test --foreign

test-docker: ## The tests with RabbitMQ 4 and PostgreSQL 18 in containers
	@TEST_SERVERS=docker scripts/test

check: ## Formatting, lints and documentation only; no servers
	@scripts/check

manifests: ## Check deploy/kubernetes against the schemas of Kubernetes, KEDA and the Prometheus operator
	@scripts/manifests

observability: ## Check alerts and dashboard against a Prometheus that watches a real run, in a minute
	@scripts/observability

attack: ## Messages that want to harm others, each with neighbours whose waits are measured; half an hour
	@scripts/attack

chaos: ## Attack the promises: servers and workers killed under load; SEED=1 repeats a run
	@scripts/chaos $(if $(SEED),--seed $(SEED))

cluster-test: ## Kill nodes of a RabbitMQ cluster and primaries of PostgreSQL under load; SEED=1 repeats a run
	@scripts/chaos --cluster $(if $(SEED),--seed $(SEED))
	@scripts/chaos --cluster --asynchronous $(if $(SEED),--seed $(SEED))

scaling-test: ## Four workers in containers, two of them killed under load (Docker)
	@scripts/scaling-test

fuzz: ## Look for messages that are decided on wrongly (FUZZ_SECONDS each of three ways)
	@scripts/fuzz

bench: ## Measure beside others, with private servers that are removed afterwards
	@scripts/bench

bench-quick: ## The essentials of it, in about two minutes
	@scripts/bench --quick

profile: ## Where the worker spends its CPU under load, by function (Linux)
	@scripts/profile

docs: ## Build docs/ as a site with search, in .local/book, and check every link
	@scripts/docs

deps: ## Check licences, sources, bans and advisories of the dependencies
	@scripts/deps

fmt: ## Format the code
	scripts/cargo fmt --all

clean: ## Remove everything that was built or fetched
	@scripts/demo down
	rm -rf "$${CARGO_TARGET_DIR:-target}" .local
