"""Pages of the site that are made from files outside docs/, so that each fact stands in one place (mkdocs' hook)."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from blendinator.pipeline.cli import main

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 100  # columns of the commands' help
# The page, and the file at the root of the project that it shows.
ROOT_PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
NOTEBOOKS = {"tutorial.md": "docs/tutorial.ipynb", "retraining-tutorial.md": "docs/retraining.ipynb"}
CONFIGURATION = """# Configuration

One YAML file, given by `--config`. This is `configs/default.yaml`: every key with its default, what it means, and in
brackets what is allowed. A file of your own needs to name only what it changes.

```yaml
{}```
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages."""
    for page, text in pages().items():
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "LICENSE", abs_src_path=str(ROOT / "LICENSE")))
    return files


def pages() -> dict[str, str]:
    """Name and Markdown of each generated page."""
    found = {page: as_page((ROOT / source).read_text(encoding="utf-8")) for page, source in ROOT_PAGES.items()}
    for page, source in NOTEBOOKS.items():
        found[page] = notebook((ROOT / source).read_text(encoding="utf-8"), source)
    found["commands.md"] = "# Commands\n\nWhat `--help` prints.\n\n" + "\n".join(commands(main, "blendinator"))
    found["configuration.md"] = CONFIGURATION.format((ROOT / "configs/default.yaml").read_text(encoding="utf-8"))
    return found


def commands(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[str]:
    """A section for a command and each below it, with what --help prints."""
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, parent, info_name=name, **settings)
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    for below in command.list_commands(context) if isinstance(command, click.Group) else ():
        yield from commands(command.get_command(context, below), below, context)


def notebook(text: str, source: str) -> str:
    """A Jupyter notebook as Markdown: its text and code, without results, and where to find it."""
    parts = []
    for cell in json.loads(text)["cells"]:
        content = "".join(cell["source"])
        parts.append(content if cell["cell_type"] == "markdown" else f"```python\n{content}\n```")
    parts.insert(1, f"*This page is the notebook `{source}`, which the tests run.*")
    return "\n\n".join(parts) + "\n"


def as_page(text: str) -> str:
    """A Markdown file of the root with its links as they are from within docs/."""
    for page, source in {**ROOT_PAGES, **NOTEBOOKS}.items():
        text = text.replace(f"]({source})", f"]({page})")
    return re.sub(r"\]\(docs/", "](", text)
