# `make run` and `make test` set everything up first; a second call skips what is already there.
CONFIG ?= configs/default.yaml

.PHONY: run test setup lock docs clean

run: setup
	@.venv/bin/blendinator run --config $(CONFIG)

test: setup
	@.venv/bin/python -m pytest --import-mode=importlib $(TESTS)

setup:
	@sh scripts/setup.sh

# Pins the newest versions within the ranges of setup.py.
lock:
	@sh scripts/setup.sh lock

# Builds the documentation into site/; a broken link is an error.
docs: setup
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

clean:
	rm -rf .venv .tools
