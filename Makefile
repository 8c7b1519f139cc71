# `make run` and `make test` set everything up first; a second call skips what is already there.
CONFIG ?= configs/default.yaml

.PHONY: run test setup lock clean

run: setup
	@.venv/bin/blendinator run --config $(CONFIG)

test: setup
	@.venv/bin/python -m pytest --import-mode=importlib $(TESTS)

setup:
	@sh scripts/setup.sh

# Pins the newest versions within the ranges of setup.py.
lock:
	@sh scripts/setup.sh lock

clean:
	rm -rf .venv .tools
