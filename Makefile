# What there is to do here. Each target says in one line what it is for; `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help run test test-matrix soak bench lint screenshots fmt doc

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: ## the demo: an embedded PostgreSQL, the relay, real jobs, the dashboard
	@scripts/ensure-postgres
	@scripts/build-dashboard
	cargo run -- demo

test: ## all tests, on a PostgreSQL of their own, the dashboard in a browser
	@scripts/ensure-postgres
	scripts/run-tests
	scripts/test-web

test-matrix: ## all tests, on PostgreSQL 16, 17 and 18 too
	scripts/test-matrix

soak: ## random writers and subscribers against the log for ten minutes (SOAK_SEED replays, SOAK_SECONDS)
	@scripts/ensure-postgres
	SOAK_SECONDS=$${SOAK_SECONDS:-600} scripts/run-tests --profile soak --no-capture soak::

bench: ## all measurements, about twenty minutes; docs/benchmarks.md says what they mean
	@scripts/ensure-postgres
	cargo bench --bench bellwether

lint: ## formatting, clippy, documentation, licences; warnings are errors
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --no-deps --document-private-items
	scripts/check-dependencies
	scripts/check-web

screenshots: ## the pictures of the README, anew
	@scripts/ensure-postgres
	scripts/make-screenshots

fmt: ## put the code into shape
	cargo fmt

doc: ## the documentation of the code, in a browser
	cargo doc --no-deps --document-private-items --open
