"""Messages of the library in the words of the command line: `zero_point` there is --zero-point here."""

import re
from collections.abc import Iterator

import click

# Parameters of commands that the library knows by another name.
_IN_THE_LIBRARY = {"output": "maps"}


def with_option_names(text: str, command: click.Command) -> str:
    """The text with every argument in backticks that is an option of the command replaced by the option.

    Args:
      text: a message that names arguments of the Python API as `name`.
      command: the command that was called; of a group, the options of all its commands.
    """
    options = {
        _IN_THE_LIBRARY.get(parameter.name, parameter.name): max(parameter.opts, key=len)
        for parameter in _parameters(command)
        if isinstance(parameter, click.Option) and parameter.name and not parameter.hidden
    }
    return re.sub(r"`(\w+)`", lambda match: options.get(match[1], match[0]), text)


def _parameters(command: click.Command) -> Iterator[click.Parameter]:
    yield from command.params
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        yield from _parameters(each)
