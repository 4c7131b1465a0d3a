"""What a bare word means, in files and in overrides, and that nothing hostile gets through."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.config import parse_size
from blemish.config.yaml_text import MAX_BYTES, MAX_DEPTH, dump_yaml, parse_value, parse_yaml, read_yaml
from blemish.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        (".5", 0.5),
        ("3.", 3.0),
        ("-2", -2),
        ("+7", 7),
        ("0", 0),
        ("001", "001"),
        ("-01", "-01"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("True", True),
        ("false", False),
        ("yes", "yes"),
        ("on", "on"),
        ("N", "N"),
        ("None", None),
        ("null", None),
        ("~", None),
        ("", None),
        (" ", None),
        ("gpu:0,1", "gpu:0,1"),
        ("a: b", "a: b"),
        ("{a: 1}", "{a: 1}"),
        ("#1", "#1"),
        ("&a", "&a"),
        ("!!python/name:os.system", "!!python/name:os.system"),
        ("len", "len"),
        ("__import__('os')", "__import__('os')"),
        ("[8, 16]", [8, 16]),
        ("[1e-3, 001, None]", [0.001, "001", None]),
        ("'1'", "1"),
        ('"None"', "None"),
        ("\u0663", "\u0663"),
    ],
)
def test_override_values(text, value):
    found = parse_value(text, "-o X")
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("text", ["1e-3", "001", "yes", "on", "12:30", "None", "True", ".5", "0o17", "gpu:0,1"])
def test_files_and_overrides_agree(text):
    assert parse_yaml(f"key: {text}", "file") == {"key": parse_value(text, "-o X")}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: 1\na: 2", "line 2: not usable YAML: the key `a` stands twice"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: &x [*x]", "aliases"),
        ("1: 2", "a key is not text"),
        ("? [1]\n: 2", "a key is not text"),
        ("null: 2", "a key is not text"),
        ("a: !!python/object/apply:os.system [echo]", "tags"),
        ("a: [1", "not usable YAML"),
        ("a: \x01", "not usable YAML"),
        ("a: !!int 1", "tags"),
        ("a: ! x", "tags"),
        ("[" * (MAX_DEPTH + 1), "nested too deeply"),
        ("a: 1\n---\nb: 2", "single document"),
    ],
)
def test_refused_yaml(text, part):
    with pytest.raises(UsageError, match=r"^file") as caught:
        parse_yaml(text, "file")
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_refused(tmp_path):
    cases = {
        "large.yaml": (b"a: 1\n" + b"#" * MAX_BYTES, "larger than"),
        "latin.yaml": ("a: \u00e9".encode("latin-1"), "UTF-8"),
        "list.yaml": (b"- 1", "no sections"),
    }
    for name, (content, part) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=part):
            read_yaml(tmp_path / name)
    with pytest.raises(UsageError, match="is a directory"):
        read_yaml(tmp_path)
    with pytest.raises(UsageError, match="no such file"):
        read_yaml(tmp_path / "missing.yaml")


def test_empty_file_and_byte_order_mark(tmp_path):
    (tmp_path / "empty.yaml").write_bytes(b"# nothing\n")
    assert read_yaml(tmp_path / "empty.yaml") == {}
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\n")
    assert read_yaml(tmp_path / "bom.yaml") == {"a": 1}


words = st.sampled_from(["None", "null", "yes", "on", "1e-3", "001", "12:30", "=", "<<", "1_0", "0x1", "- a", "a: b"])
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**18), 10**18),
    st.floats(allow_nan=False, allow_infinity=False),
    words,
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
)


@given(st.dictionaries(words | st.text("abc.", min_size=1), values | st.lists(values, max_size=3), min_size=1))
def test_dump_reads_back_the_same(data):
    found = parse_yaml(dump_yaml(data), "file")
    assert found == data
    assert [type(value) for value in found.values()] == [type(value) for value in data.values()]


@given(st.text(max_size=60) | st.text("[]{}:,-!&*|>'\"#%@ \nab1", max_size=40))
def test_any_text_is_data_or_one_line(text):
    for parse in (parse_yaml, parse_value):
        try:
            parse(text, "here")
        except UsageError as error:
            assert str(error).startswith("here") and "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("1.5GiB", 3 * 2**29),
        ("500 mb", 5 * 10**8),
        ("1000000", 10**6),
        ("3K", 3000),
        ("1TiB", 2**40),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "1XB", "1e9", "1 2GB", "nan", "9" * 40, "0.1B", "\u0663GB"])
def test_sizes_refused(text):
    with pytest.raises(ValueError, match="amount of memory"):
        parse_size(text)


def test_importing_config_loads_nothing_heavy():
    heavy = "('cv2', 'onnx', 'onnxruntime', 'torch', 'PIL')"
    code = f"import sys, blemish.config; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
