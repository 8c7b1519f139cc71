"""Text that is shown does not act."""

import pytest

from blendinator.errors import DataError
from blendinator.escape import code, markdown, printable


@pytest.mark.parametrize(
    "text, shown",
    [
        ("scene 1:7\nsecond line, ü", "scene 1:7\nsecond line, ü"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb\x07", "a\\rb\\x07"),
        ("\u202eabc", "\\u202eabc"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown and str(DataError(text)) == shown


def test_markdown():
    assert markdown("a|b\n<i>`c`</i> *d* [e](f) & g_h") == (
        "a\\|b &lt;i&gt;\\`c\\`&lt;/i&gt; \\*d\\* \\[e\\](f) &amp; g_h"
    )
    assert code("a`b|c\nd") == "`a'b/c d`"
