"""Whatever a configuration file holds, it is read or refused by a ConfigError whose message can be read."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from hypothesis import given, strategies as st

from blendinator.config import Config
from blendinator.errors import ConfigError
from blendinator.pipeline.config_checks import read_config

TINY = (Path(__file__).resolve().parents[2] / "configs" / "tiny.yaml").read_bytes()
# Seven levels of nine references each: five million items in 300 bytes.
EXPONENTIAL = b"name:\n- &a0 [x]\n" + b"".join(
    b"- &a%d [%s]\n" % (i + 1, b", ".join([b"*a%d" % i] * 9)) for i in range(7)
)
LONGEST_MESSAGE = 3000  # characters


def keys(cls, prefix=()):
    """Paths of all keys and sections."""
    found = []
    for field in dataclasses.fields(cls):
        found.append((*prefix, field.name))
        default = field.default_factory() if field.default is dataclasses.MISSING else field.default
        if dataclasses.is_dataclass(default):
            found += keys(type(default), (*prefix, field.name))
    return found


KEYS = keys(Config)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.datetimes(),
    st.sampled_from(
        (
            "1e-3",
            "nan",
            "auto",
            "latest",
            "",
            "\0",
            "0x1F",
            "--runner=x",
            "1" * 5000,
            "latest:" + "1" * 5000,
            "1-99999999999",
        )
    ),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SCALARS, inner, max_size=4), max_leaves=8
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "config.yaml"


def read(path, content: bytes):
    path.write_bytes(content)
    try:
        config = read_config(path)
    except ConfigError as error:
        assert str(path) in str(error) and len(str(error)) < LONGEST_MESSAGE
    else:
        assert isinstance(config, Config)


@given(key=st.sampled_from(KEYS), value=VALUES)
def test_any_value_for_any_key(path, key, value):
    for name in reversed(key):
        value = {name: value}
    read(path, yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass"))


@given(value=VALUES)
def test_any_document(path, value):
    read(path, yaml.safe_dump(value).encode())


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes(path, content):
    read(path, content)


@given(
    start=st.integers(0, len(TINY)),
    length=st.integers(0, 40),
    put=st.binary(max_size=8)
    | st.sampled_from(
        (b"{", b"[", b": ", b"- ", b"&a ", b"*a", b"!!python/object:os.system ", b"<<: ", b"\t", b"? ", b"2001-99-99")
    ),
)
def test_a_damaged_file(path, start, length, put):
    read(path, TINY[:start] + put + TINY[start + length :])


@pytest.mark.parametrize(
    "content",
    [
        EXPONENTIAL,
        b"name: 0x" + b"f" * 5000,
        b"name: &a [*a]",
        b"[" * 5000,
        b"{a: " * 5000,
        b"name: " + b"9" * 5000,
        b"name: 2001-99-99",
        b"[]",
        b"0",
        b"false",
        b"\xff\xfe",
        b"name: \xed\xa0\x80",
        b'output_dir: "a\\0b"',
    ],
    ids=[
        "exponential",
        "hexadecimal",
        "cyclic",
        "deep list",
        "deep map",
        "long number",
        "no date",
        "list",
        "zero",
        "false",
        "BOM",
        "surrogate",
        "null byte",
    ],
)
def test_spiteful_files(path, content):
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        read_config(path)
    assert str(path) in str(raised.value) and len(str(raised.value)) < LONGEST_MESSAGE


def test_the_keys_are_all_of_them():
    assert ("simulation", "population", "clustering") in KEYS and len(KEYS) > 100
