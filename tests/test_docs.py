"""The documentation: the site is built without a warning, needs no other server, and what it says of the code is so."""

import ast
import dataclasses
import importlib.util
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import numpy as np
import pytest
import yaml

import blendinator
from blendinator.data.simulate import LIBRARIES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
FOLDERS = ("benchmarks", "components", "configs", "data", "docs", "model", "pipeline", "schemas", "scripts", "tests")

_spec = importlib.util.spec_from_file_location("architecture_figure", ROOT / "scripts/architecture_figure.py")
architecture_figure = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(architecture_figure)


def build(folder, config=ROOT / "mkdocs.yml"):
    pytest.importorskip("mkdocstrings", reason="needs the extra `docs`")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", folder],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    process = build(folder)
    assert process.returncode == 0, process.stderr
    return folder


def test_pages_load_nothing_from_elsewhere(site):
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?(https?://[^\s\">]+)", text)
        assert loaded == [], page.name


def test_the_reference_names_every_command(site):
    from blendinator.pipeline.cli import main

    page = (site / "commands.html").read_text(encoding="utf-8")
    assert all(f"blendinator {name}" in page for name in main.commands)


def test_the_reference_names_the_public_api(site):
    page = (site / "reference.html").read_text(encoding="utf-8")
    for name in set(blendinator.__all__) - {"__version__"}:
        assert re.search(rf"<h3 id=\"[\w.]*\.{name}\"", page), name


def test_what_the_reference_shows_exists_and_is_documented():
    shown = re.findall(r"^::: ([\w.]+)$", (DOCS / "reference.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(shown) > 20
    names = {name.rpartition(".")[2] for name in shown}
    assert set(blendinator.__all__) - {"__version__"} <= names
    for name in shown:
        found = pkgutil.resolve_name(name)
        assert found.__doc__, name
        for member in getattr(found, "__all__", ()):
            value = getattr(found, member)
            assert not callable(value) or value.__doc__, f"{name}.{member}"


def test_the_commands_in_the_text_exist_with_their_options():
    from blendinator.pipeline.cli import main

    calls = []
    for page in [*DOCS.glob("*.md"), *ROOT.glob("*.md")]:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8").replace("\\\n", " "), re.DOTALL):
            calls += re.findall(r"^(?:\.venv/bin/)?blendinator (.*)", block, re.MULTILINE)
    assert len(calls) > 25
    for call in calls:
        words, command = shlex.split(call, comments=True), main
        while isinstance(command, click.Group) and not words[0].startswith("-"):
            command = command.commands[words.pop(0)]
        known = {"--help", *(option for one in command.params for option in one.opts)}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= known, call


def test_the_configurations_in_the_text_can_be_loaded():
    from blendinator.config import Config
    from blendinator.config_loader import config_from_dict
    from blendinator.pipeline.config_checks import check_config

    loaded = 0
    for page in [*DOCS.glob("*.md"), *ROOT.glob("*.md")]:
        for block in re.findall(r"^( *)```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            raw = yaml.safe_load(textwrap.dedent(block[1]))
            if set(raw) <= {field.name for field in dataclasses.fields(Config)}:
                check_config(config_from_dict(raw), page.name)
                loaded += 1
    assert loaded >= 8


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("nowhere.md", "nowhere.md"),
        ("model.md#no-such-heading", "no-such-heading"),
    ],
)
def test_a_broken_link_fails_the_build(tmp_path, link, said):
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "model.md").write_text(f"# Model\n\n[a link]({link})\n", encoding="utf-8")
    text = re.sub(r"(?s)\nnav:.*", "\n", text).replace("hooks:", "#").replace("extra_css:", "#")
    (tmp_path / "mkdocs.yml").write_text(text, encoding="utf-8")
    process = build(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert process.returncode != 0
    assert said in process.stderr


SOURCES = ("blendinator", "components", "data", "model", "pipeline", "schemas")
ENOUGH = 12  # characters of a message that must be its own
LONG = 60  # characters after which a text may be the end of a message whose beginning is filled in elsewhere


def templates():
    """Every text in the sources as a list of its parts, with None for what is filled in."""
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):  # does not follow the links in blendinator/
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                parts = node.values if isinstance(node, ast.JoinedStr) else [node]
                texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
                if all(text is None or isinstance(text, str) for text in texts) and (
                    sum(len(text or "") for text in texts) >= ENOUGH
                ):
                    yield texts


def is_made_from(message, texts):
    if any(text not in message for text in texts if text):  # spares the slower comparison
        return False
    beginning = ".*" if sum(len(text or "") for text in texts) >= LONG else ""
    pattern = beginning + "".join(".*" if text is None else re.escape(text) for text in texts)
    return re.fullmatch(pattern, message, re.DOTALL)


def test_the_navigation_names_each_page_once():
    pages = re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(pages) > 15 and sorted(pages) == sorted(set(pages))


def test_the_messages_of_the_faq_are_those_of_the_code():
    quoted = re.findall(r"```text\n(.*?)\n```", (DOCS / "faq.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(quoted) >= 10
    known = list(templates())
    # The command line writes options where the library names arguments in backticks.
    in_library = lambda text: re.sub(r"--([a-z][a-z-]*)", lambda match: f"`{match[1].replace('-', '_')}`", text)
    spellings = {message: (message, in_library(message)) for message in quoted}
    made = lambda message: any(is_made_from(text, texts) for text in spellings[message] for texts in known)
    assert [message for message in quoted if not made(message)] == []


def test_the_files_that_the_documentation_names_exist():
    missing = []
    for page in [*DOCS.glob("*.md"), *ROOT.glob("*.md")]:
        for name in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", page.read_text(encoding="utf-8")):
            if not (ROOT / name).exists():
                missing.append(f"{page.name}: {name}")
    assert missing == []


def test_the_names_in_the_architecture_are_where_it_says():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    found = re.findall(r"`(\w+)`\s+(?:in|of)\s+`([\w/]+\.py)`", text)
    assert len(found) > 15
    for name, path in found:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        names |= {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert name in names, path


def example(name):
    """The block of code below a comment `<!-- example: name -->` of docs/architecture.md."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- example: {name} -->\n *```\w+\n(.*?)\n *```", text, re.DOTALL)
    return textwrap.dedent(found[1])


def test_the_example_of_a_metric():
    from blendinator.model.metrics import aggregate

    names = dict(vars(aggregate))
    exec(example("metric"), names)
    counts = np.array([[[9.0, 1, 0], [2, 6, 0], [0, 1, 3]]])  # true by predicted
    assert names["_confused"](counts)["blends_called_galaxy"] == pytest.approx([0.25])


def test_the_example_of_a_slice():
    from blendinator.config_loader import config_from_dict
    from blendinator.pipeline.config_checks import check_config

    config = config_from_dict(yaml.safe_load(example("slice")))
    check_config(config)
    assert config.evaluation.thresholds[0].slice == "psf_fwhm 0.17 to 0.3"


def test_the_example_of_a_survey(monkeypatch):
    from blendinator.data import survey

    monkeypatch.setattr(survey, "PRESETS", dict(survey.PRESETS))
    exec(example("survey"), vars(survey).copy())
    found = survey.get_survey("lsst_r")
    assert found.pixel_scale == 0.2 and 100 < found.sky_sigma < 1000 and 0.5 < found.psf_fwhm < 1.0


def test_the_figure_shows_the_components_of_the_pipeline():
    assert architecture_figure.FIGURE.read_text(encoding="utf-8") == architecture_figure.draw()
    tree = ast.parse((ROOT / "pipeline/dag.py").read_text(encoding="utf-8"))
    made = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("blendinator.components.")
        for name in (alias.name for alias in node.names)
    }
    made |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "tfx_components"
    }
    assert set(architecture_figure.BOXES) - {"simulate", "serving"} == made


def table(page, heading):
    """The names in backticks in the first column of the table below a heading."""
    text = (DOCS / page).read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return [name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]


def test_the_record_is_documented():
    from blendinator.data.records import FEATURES, SCALARS

    assert table("records.md", "The record") == list(FEATURES)
    text = (DOCS / "records.md").read_text(encoding="utf-8")
    for name, scalar in SCALARS.items():
        kind, remark = re.search(rf"^\| `{name}` \| (\w+) \| (.*?) \|", text, re.MULTILINE).groups()
        assert kind == scalar.kind and scalar.unit in remark, name
        assert scalar.sentinel is None or f"{scalar.sentinel:g} with" in remark, name


@pytest.mark.parametrize(
    ("heading", "path", "functions"),
    [
        ("The manifest of a span", "data/simulate.py", {"_finish": "manifest", "span_settings": "settings"}),
        ("Why a model was pushed, or not", "pipeline/history/explain.py", {"explain": None}),
        ("The log of the runs", "pipeline/run.py", {"perform": "entry"}),
    ],
)
def test_the_json_is_documented(heading, path, functions):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    written = {"format_version"}
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in functions):
        written |= set(keys(function, functions[function.name]))
    assert set(table("records.md", heading)) == written


def keys(function, variable):
    """The keys that a function gives to a dictionary: of what it returns, or of a local variable."""
    for node in ast.walk(function):
        names = [
            getattr(target, "id", None) or getattr(getattr(target, "value", None), "id", None)
            for target in getattr(node, "targets", [getattr(node, "target", None)])
        ]
        if variable in names if variable else isinstance(node, ast.Return):
            if isinstance(node.value, ast.Dict):
                yield from (key.value for key in node.value.keys if key)
            for target in getattr(node, "targets", ()):
                if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                    yield target.slice.value
                elif isinstance(target, ast.Subscript):  # settings[LIBRARIES[name]]
                    yield from LIBRARIES.values()
