# `make run` and `make test` set everything up first; a second call skips what is already there. STACK=current or
# STACK=compatible asks for one of the two stacks of libraries; unset, the machine decides (docs/stacks.md).
CONFIG ?= configs/default.yaml

.PHONY: run test nightly test-current test-flink test-triton test-gcs setup lock lint docs pictures clean

run: setup
	@.venv/bin/blendinator run --config $(CONFIG) || test $$? -eq 3  # 3: the model was not good enough to be pushed

test: setup
	@.venv/bin/python -m pytest --import-mode=importlib $(TESTS)

# Faults and fuzzing at full length: 10,000 cases for each reader, 60 signals into retrainings: about an hour.
nightly: setup
	@.venv/bin/python -m pytest --import-mode=importlib --nightly tests/fuzz tests/faults

# The same on the newest TFX, on a machine whose glibc is too old for it: in a Debian 13 folder, as root. Then one
# project on both stacks.
test-current:
	@sh scripts/setup.sh uv
	@sh scripts/trixie.sh exec make test STACK=current TESTS="$(TESTS)"
	@sh scripts/setup.sh && .venv/bin/python -m pytest --import-mode=importlib tests/test_stacks.py

# The Beam jobs on a Flink session cluster on this machine, which is put into .tools. Needs Java and Maven.
test-flink: setup
	@sh scripts/flink.sh setup
	@.venv/bin/python -m pytest --import-mode=importlib -k flink tests/engines

# The released model on NVIDIA's Triton on processors, which is put into .tools. Needs Debian's python3.11.
test-triton: setup
	@sh scripts/triton.sh setup
	@.venv/bin/python -m pytest --import-mode=importlib tests/test_triton.py

# Spans and pushed versions in an object store: an emulator on this machine, which is put into .tools.
test-gcs: setup
	@sh scripts/gcs.sh setup
	@.venv/bin/python -m pytest --import-mode=importlib tests/test_gcs.py tests/test_object_stores.py

setup:
	@sh scripts/setup.sh

# Pins the newest versions within the ranges of setup.py.
lock:
	@sh scripts/setup.sh lock

# Style and types; ruff.toml and mypy.ini say which.
lint: setup
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m mypy

# Builds the documentation into site/; a broken link is an error.
docs: setup
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

# Makes the pictures of README.md and docs/ again, with the released model.
pictures: setup
	@.venv/bin/python scripts/pictures.py

clean:
	rm -rf .venv .tools
