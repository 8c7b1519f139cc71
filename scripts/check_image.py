"""Carries out the Dockerfile's steps without a container engine: the same commands, in an empty folder and environment.

    sh scripts/trixie.sh exec python3 scripts/check_image.py [FOLDER]

Needs Python 3.13 and glibc 2.39 (Debian 13 has both), a C++ compiler, the package index and 4 GB of disk, and takes
some minutes. What stands for the image is FOLDER (a temporary one by default): /opt/venv and /src lie below it. Left
out: the base image and the packages of the distribution. At the end the image's command is called as a user without
rights, where this is run by root.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def parse(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile as (name, rest), with continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines()]


def stages(instructions: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """The instructions of each stage, from its FROM on."""
    result = []
    for name, rest in instructions:
        if name == "FROM":
            result.append([])
        if result:
            result[-1].append((name, rest))
    return result


def ignored(path: Path, patterns: list[str]) -> bool:
    """Whether .dockerignore leaves a path (relative to the project) out: here, everything but the paths with a "!"."""
    if path.suffix == ".pyc" or "__pycache__" in path.parts:
        return True
    return not any(path.parts[0] == pattern[1:] for pattern in patterns if pattern.startswith("!"))


def copy(source: str, target: Path, patterns: list[str]) -> None:
    """COPY of a file or a folder's content of the project."""
    files = [PROJECT / source] if (PROJECT / source).is_file() else sorted((PROJECT / source).rglob("*"))
    for file in files:
        relative = file.relative_to(PROJECT)
        if file.is_file() and not ignored(relative, patterns):
            place = target / relative
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)


def environment(folder: Path) -> dict[str, str]:
    """What the steps see of the environment: nothing of the caller's Python."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | {"PATH": f"{folder / 'python'}:/usr/local/bin:/usr/bin:/bin", "HOME": str(folder)}


def build(folder: Path, steps: list[tuple[str, str]]) -> None:
    """Carries out COPY and RUN of the first stage below `folder`."""
    patterns = (PROJECT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    python = folder / "python"  # the base image's `python`
    python.mkdir(parents=True)
    (python / "python").symlink_to(sys._base_executable)
    here = lambda text: text.replace("/opt/venv", str(folder / "venv"))
    source = folder / "src"
    source.mkdir()
    for name, rest in steps:
        if name == "COPY":
            for item in rest.split()[:-1]:
                copy(item, source, patterns)
        elif name == "RUN" and "apt-get" not in rest:
            print(f"RUN {rest}", flush=True)
            subprocess.run(["sh", "-euc", here(rest)], cwd=source, env=environment(folder), check=True)
    shutil.rmtree(source)  # the last stage has the environment only


def check(folder: Path, final: list[tuple[str, str]]) -> None:
    """Calls the image's command and the tasks' entry point, as a user without rights where that can be done."""
    given = dict(final)
    folder.chmod(0o755)
    user = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"] if os.geteuid() == 0 else []
    trial = [*user, str(folder / "python" / "python"), "-c", ""]
    if user and subprocess.run(trial, stderr=subprocess.DEVNULL).returncode:
        print(f"other users cannot run {sys._base_executable}: its commands are called by this one")
        user = []
    here = environment(folder)
    here |= {"PATH": f"{folder / 'venv' / 'bin'}:{here['PATH']}", "HOME": "/nonexistent"}
    imports = "import blendinator.pipeline.dag, blendinator.pipeline.kubeflow.single_pod; print(blendinator.__file__)"
    for command in (
        [*json.loads(given["ENTRYPOINT"]), *json.loads(given["CMD"])],
        ["python", "-m", "blendinator.pipeline.kubeflow.entrypoint", "--help"],
        ["python", "-c", imports],
    ):
        print(" ".join([f"as user {given['USER']}:" if user else "calling:", *command]), flush=True)
        subprocess.run([*user, *command], cwd="/", env=here, check=True)


def main(folder: Path) -> int:
    """Carries out the steps below `folder` and checks what came out; returns the exit code."""
    first, final = stages(parse((PROJECT / "Dockerfile").read_text(encoding="utf-8")))
    if not (folder / "venv").exists():  # else: check again what is there
        build(folder, first)
    check(folder, final)
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1]).resolve()))
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(main(Path(scratch)))
