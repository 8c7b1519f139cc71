"""What the terminal shows while fields are segmented."""

from types import TracebackType

import click

from blendinator.escape import printable
from blendinator.model.field.batch import record
from blendinator.model.field.batch.run import Listener
from blendinator.model.field.reading import Field
from blendinator.pipeline.commands._messages import with_option_names


class FieldProgress(Listener):
    """Bars with the rate and the time left, on a terminal; silent elsewhere but for the lines.

    Args:
      images: how many there are; with more than one they have a bar, and each gets a line.
    """

    def __init__(self, images: int = 1) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.disable = not self._bar.console.is_terminal
        self._images = self._bar.add_task("images", total=images, rate="") if images > 1 else None
        self._task = self._bar.add_task("reading", total=None, rate="")
        self._label = ""
        self._context = click.get_current_context(silent=True)  # of this thread; a Beam job tells from another

    def __enter__(self) -> "FieldProgress":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._bar.stop()

    def begin(self, name: str, number: int, total: int) -> None:
        """The next of many images."""
        self._label = f"{number}/{total} {printable(name)}: "
        self._bar.reset(self._task, total=None, description="reading")

    def opened(self, field: Field) -> None:
        """The field is open: the number of its pixels is known, and so are its warnings."""
        for text in field.warnings:
            self._say(f"{self._label}warning: {printable(text)}")
        self._bar.reset(self._task, total=field.shape[0] * field.shape[1], description="segmenting")

    def advance(self, pixels: int) -> None:
        """More pixels are done."""
        self._bar.advance(self._task, pixels)
        speed = next(task.speed for task in self._bar.tasks if task.id == self._task)
        self._bar.update(self._task, rate=f"{speed / 1e6:.2f} Mpx/s" if speed else "")

    def end(self, name: str, content: dict, skipped: bool) -> None:
        """One of many images is done, has failed, or was skipped."""
        if self._images is not None:
            self._bar.advance(self._images)
        if skipped:
            text = "unchanged, skipped"
        elif content["state"] == record.FAILED:
            text = f"failed: {printable(content['error'])}"
        else:
            text = f"{content['objects']} objects, {content['blends']} blends in {content['seconds']:.1f} s"
        if self._bar.disable:
            click.echo(self._in_words_of_the_command(self._label + text))
        else:
            self._say(self._label + text)

    def _in_words_of_the_command(self, text: str) -> str:
        return with_option_names(text, self._context.command) if self._context else text

    def _say(self, text: str) -> None:
        self._bar.console.print(self._in_words_of_the_command(text), markup=False, highlight=False, soft_wrap=True)
