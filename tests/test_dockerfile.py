"""The image's recipe; scripts/check_image.py carries its steps out."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "scripts"))
import check_image  # noqa: E402

sys.path.pop(0)


@pytest.fixture(scope="module")
def stages():
    return check_image.stages(check_image.parse((PROJECT / "Dockerfile").read_text()))


def test_hadolint_has_nothing_to_say():
    hadolint = Path(sys.executable).with_name("hadolint")
    process = subprocess.run([hadolint, PROJECT / "Dockerfile"], capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (0, "")


def test_the_image_runs_our_command_without_rights(stages):
    final = dict(stages[-1])
    assert json.loads(final["ENTRYPOINT"]) == ["blendinator"]
    user, group = final["USER"].split(":")
    assert int(user) > 0 and int(group) > 0


def test_packages_come_from_the_lock_file_with_hashes(stages):
    installs = [rest for name, rest in stages[0] if name == "RUN" and "pip install" in rest]
    assert len(installs) == 2 and all("--no-deps" in rest for rest in installs)
    assert "--require-hashes --requirement requirements-current.lock" in installs[0]
    blocks = re.split(r"\n(?=\S)", (PROJECT / "requirements-current.lock").read_text())
    assert all("--hash=sha256:" in block for block in blocks if re.match(r"[\w.-]+(\[.*\])?==", block))


def test_base_image_is_the_interpreter_of_the_project():
    text = (PROJECT / "Dockerfile").read_text()
    assert "ARG BASE=python:3.13-slim-trixie\n" in text


def test_every_package_is_copied_and_nothing_else(stages):
    copied = {item for name, rest in stages[0] if name == "COPY" for item in rest.split()[:-1]}
    packages = {"blendinator", *(link.name for link in (PROJECT / "blendinator").iterdir() if link.is_symlink())}
    assert copied == packages | {"requirements-current.lock", "setup.py", "README.md"}
    patterns = (PROJECT / ".dockerignore").read_text().split("\n")
    assert {pattern[1:] for pattern in patterns if pattern.startswith("!")} == copied
    assert check_image.ignored(Path("output/data/x"), patterns)
    assert not check_image.ignored(Path("pipeline/dag.py"), patterns)
    assert check_image.ignored(Path("pipeline/__pycache__/dag.pyc"), patterns)
