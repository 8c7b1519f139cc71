"""Text from data, files and servers as it may be shown: it must not act on a terminal or in a page.

HTML pages are escaped by their template (Jinja's autoescape).
"""

import html
import re


def printable(text: str) -> str:
    r"""Text for a terminal: control characters, which may move the cursor or worse, as \x1b; line ends stay."""
    return "".join(one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode() for one in text)


def markdown(text: str) -> str:
    """Text for one line or table cell of Markdown: no tags, links, code or new columns."""
    return re.sub(r"([\\`|\[\]*])", r"\\\1", html.escape(printable(" ".join(text.split())), quote=False))


def code(text: str) -> str:
    """Text as a code span of Markdown, in which nothing can be escaped."""
    return f"`{printable(' '.join(text.split())).replace('`', chr(39)).replace('|', '/')}`"
