"""Every arrow between the folders runs down, and what lies low imports little."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("blendinator", "data", "schemas", "model", "components", "pipeline", "benchmarks")


def imports(folder):
    """(file, layer that it imports) for each import of the project in a folder, at the top or within a function."""
    for path in sorted((ROOT / folder).rglob("*.py")):  # does not follow the links in blendinator/
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import, which this test does not follow"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                top, _, rest = name.partition(".")
                if top == "blendinator":
                    first = rest.split(".")[0]
                    yield path.relative_to(ROOT), first if first in LAYERS else "blendinator"


def arrows():
    return {(folder, layer): path for folder in LAYERS for path, layer in imports(folder) if layer != folder}


def test_no_arrow_runs_up():
    up = {
        f"{path}: imports {layer}/"
        for (folder, layer), path in arrows().items()
        if LAYERS.index(layer) > LAYERS.index(folder)
    }
    assert up == set()


def test_the_arrows_are_found():
    """The test above proves nothing if imports are written in a way that it does not see."""
    assert {
        ("data", "blendinator"),
        ("model", "data"),
        ("components", "schemas"),
        ("components", "model"),
        ("pipeline", "components"),
        ("benchmarks", "pipeline"),
    } <= set(arrows())


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("blendinator.config_loader", {"numpy", "scipy", "tensorflow", "apache_beam", "blendinator.data"}),
        ("blendinator.data.spans", {"scipy", "tensorflow", "apache_beam"}),
        ("blendinator.pipeline.cli", {"scipy", "tensorflow", "tfx", "apache_beam", "galsim"}),
    ],
)
def test_an_import_brings_no_more_than_it_needs(module, unwanted):
    script = f"import sys, {module}\nprint(sorted({unwanted!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[]\n", done.stderr


def test_reading_a_configuration_imports_no_numpy():
    script = "import sys, blendinator.config_loader as one\none.load_config()\nprint('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr


def test_only_commands_and_programs_read_the_command_line():
    programs = {f"components/export_check/{name}.py" for name in ("signatures", "triton_server")}  # of their own
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in LAYERS[:-1]
        for path in (ROOT / folder).rglob("*.py")
        if "sys.argv" in path.read_text(encoding="utf-8")
    }
    assert found - programs == {"pipeline/commands/segment.py"}


def test_messages_of_the_library_name_arguments_and_no_options():
    """`pipeline/commands/_messages.py` puts the options' names in. What is Beam's or a program's own stays."""
    programs = ("components/export_check/signatures.py",)
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("blendinator", "data", "model", "components")
        for path in sorted((ROOT / folder).rglob("*.py"))  # does not follow the links in blendinator/
        if path.relative_to(ROOT).as_posix() not in programs
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"(?<![\w-])--[a-z]", line) and not re.search(r"--(runner|direct_\w+)=|`blendinator ", line)
    ]
    assert found == []
