"""The wheel: one top-level name, the data files, and nothing that a user's own `model.py` or `data/` could break."""

import importlib
import pkgutil
import zipfile
from pathlib import Path

import blendinator

ROOT = Path(__file__).resolve().parent.parent


def test_the_wheel_holds_one_package_with_its_data_files(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"blendinator"}
    assert {"blendinator/schemas/scene.pbtxt", "blendinator/pipeline/history/report_template.html"} <= set(names)


def test_the_wheel_holds_every_module(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = [path.relative_to(ROOT) for path in (ROOT / "blendinator").glob("*.py")]
    for folder in ("components", "data", "model", "pipeline", "schemas"):
        modules += [Path("blendinator") / path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 100 and {path.as_posix() for path in modules} <= names


def test_a_users_own_files_of_our_names_are_not_imported(installed):
    script = "import blendinator, blendinator.pipeline.run as _\n"
    script += "print(blendinator.__file__, blendinator.load_config().name)"
    place, name = installed("-c", script).split()
    assert Path(place).is_relative_to(installed.site) and name == "blendinator"
    assert "Usage: " in installed("-m", "blendinator.pipeline.cli", "--help")


def test_the_public_names_exist():
    assert all(getattr(blendinator, name) is not None for name in blendinator.__all__)
    assert set(dir(blendinator)) == set(blendinator.__all__)
    assert "model" in {one.name for one in pkgutil.iter_modules(blendinator.__path__)}
    assert importlib.import_module("blendinator.data").__name__ == "blendinator.data"
