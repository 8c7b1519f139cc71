"""The documentation: the site is built without a warning, needs no other server, and what it says of the code is so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def build(folder, config=ROOT / "mkdocs.yml"):
    return subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir",
                           folder], capture_output=True, text=True, cwd=ROOT,
                          env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})


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
    from pipeline.cli import main

    page = (site / "commands.html").read_text(encoding="utf-8")
    assert all(f"blendinator {name}" in page for name in main.commands)


@pytest.mark.parametrize(("link", "said"), [
    ("nowhere.md", "nowhere.md"),
    ("model.md#no-such-heading", "no-such-heading"),
])
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
