"""Hashes that make TFX's cache see what it does not look at: the code behind a step, the libraries, and the data of a
span.

TFX's cache compares a component's inputs and parameters. For
`run_fn="blendinator.model.trainer.run_fn"` that is the text only, so that edited code would reuse old results. These
hashes go in as parameters. The code of a step is found from its imports.
"""

import ast
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import blendinator
from blendinator import stack
from blendinator.config import Config
from blendinator.config_loader import config_to_dict
from blendinator.data import spans
from blendinator.stores import Place

PACKAGE = Path(blendinator.__file__).parent
RUN = ("pipeline.run", "model.trainer", "model.preprocessing")  # the latter two are named to TFX as text
# Modules that change no result: every value of the configuration that a step reads is among its parameters.
NO_RESULT = ("", "config", "config_loader", "errors", "escape", "stack")


def code_fingerprint(*entries: str, files: tuple[str, ...] = (), root: Path = PACKAGE) -> str:
    """SHA-256 over the names and contents of modules and all that they import of this package, in a fixed order.

    The versions of the libraries that run them (`blendinator.stack.versions`) are part of it.

    Args:
      *entries: modules or packages below `root`, such as "model.trainer" or "components.drift_gate".
      files: further files below `root` that the code reads, such as "schemas/scene.pbtxt".
      root: the package's folder; its name is that of the package in imports.

    Raises:
      FileNotFoundError: a module or file does not exist: a hash of nothing would never change.
    """
    digest = hashlib.sha256(json.dumps(stack.versions()).encode())
    for path in sorted({*imported(*entries, root=root), *(root / name for name in files)}):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def imported(*entries: str, root: Path = PACKAGE) -> set[Path]:
    """Files of modules or packages, and of all that they import of the package in `root`, directly or through others.

    Imports within functions count, those under `if TYPE_CHECKING` and of the modules in NO_RESULT do not.
    """
    found: dict[str, Path] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name in found or name in NO_RESULT:
            continue
        path = _module_file(name, root)
        if path is None:
            raise FileNotFoundError(root / name.replace(".", "/"))
        found[name] = path
        if name in entries and path.name == "__init__.py":  # all of a package that is named, not of one on the way
            waiting += (f"{name}.{module.stem}" for module in path.parent.glob("*.py") if module != path)
        waiting += (name.rpartition(".")[0], *_imports(path, root, path.stat().st_mtime_ns))
    return set(found.values())


@functools.cache
def _imports(path: Path, root: Path, _modified: int) -> tuple[str, ...]:
    """Modules of the package in `root` that a file imports, such as "data.spans"."""
    found = []
    for node in _run_time_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == root.name and rest:
                # `from package.module import function`: what is imported may be a module or a name in one.
                parts = rest if _module_file(rest, root) else rest.rpartition(".")[0]
                found.append(parts)
    return tuple(found)


def _run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _run_time_nodes(child)


def _module_file(name: str, root: Path) -> Path | None:
    """The file of a module or package; None where there is none."""
    path = root / name.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def request_fingerprint(config: Config, data: str) -> str:
    """SHA-256 over all that the outcome of a run depends on: configuration, code, libraries, and data."""
    read = config_to_dict(config)
    retraining = read["retraining"]
    parts = {key: read[key] for key in ("name", "output_dir", "storage", "model", "training", "evaluation", "serving")}
    parts |= {
        "stamp_size": read["simulation"]["stamp_size"],
        "warm_start": retraining["warm_start"],
        "drift": retraining["drift"],
        "data": data,
        "code": code_fingerprint(*RUN, files=("schemas/scene.pbtxt",)),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def data_fingerprint(data_root: str | Place, chosen: tuple[int, ...]) -> str:
    """SHA-256 over the manifests of spans, which hold each file's checksum."""
    digest = hashlib.sha256()
    for span in chosen:
        digest.update((spans.span_dir(data_root, span) / spans.MANIFEST).read_bytes())
    return digest.hexdigest()[:16]
