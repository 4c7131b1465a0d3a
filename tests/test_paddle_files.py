"""The readers of Paddle's files: right on real ones, and nothing but `BackboneError` on hostile ones."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import random
import struct
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paddle_files import checkpoint, record, state_file, tar

from blemish.backbones.pdparams import read_pdparams
from blemish.errors import BackboneError
from blemish.importing.archive import read_tar
from blemish.importing.internal_names import names_by_order, names_from_info, names_from_program
from blemish.importing.pdiparams import read_records

SMALL = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "bn.bias": np.linspace(-1, 1, 3, dtype=np.float32),
}
INTERNAL = {"conv.weight": "conv2d_0.w_0", "bn.bias": "batch_norm2d_0.b_0"}


def same(read: dict[str, npt.NDArray[Any]], expected: dict[str, npt.NDArray[Any]]) -> None:
    assert list(read) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(read[name], values)
        assert read[name].dtype == np.float32 and not read[name].flags.writeable


class TestPdparams:
    @pytest.mark.parametrize("protocol", [2, 3, 4])
    def test_reads_a_state_dictionary(self, protocol: int):
        same(read_pdparams(state_file(SMALL, INTERNAL, protocol)), SMALL)

    @pytest.mark.parametrize("protocol", [2, 3, 4])
    def test_reads_the_model_in_a_checkpoint(self, protocol: int):
        same(read_pdparams(checkpoint(SMALL, protocol)), SMALL)

    @pytest.mark.parametrize("protocol", [2, 3, 4])
    def test_reads_what_either_numpy_writes(self, protocol: int):
        data = state_file(SMALL, INTERNAL, protocol)
        other = (b"numpy.core", b"numpy._core") if b"numpy._core" not in data else (b"numpy._core", b"numpy.core")
        if protocol == 4:  # names have their length before them there, and frames theirs
            longer = len(other[1]) - len(other[0])
            names = [(bytes([0x8C, len(n)]) + n) for n in (other[0] + b".multiarray", other[1] + b".multiarray")]
            data = data.replace(*names)
            frame = struct.unpack("<Q", data[3:11])[0]
            data = data[:3] + struct.pack("<Q", frame + longer) + data[11:]
        else:
            data = data.replace(*other)
        same(read_pdparams(data), SMALL)

    def test_a_tensor_of_a_checkpoint_may_be_shared(self):
        shared = {"a": SMALL["bn.bias"], "b": SMALL["bn.bias"]}
        same(read_pdparams(state_file(shared, {})), shared)

    def test_tensors_are_not_copied(self):
        data = state_file({"a": np.zeros(1_000_000, np.float32)}, {})
        tracemalloc.start()
        try:
            read_pdparams(data)
            assert tracemalloc.get_traced_memory()[1] < 1e6
        finally:
            tracemalloc.stop()

    def test_refuses_split_tensors(self):
        data = pickle.dumps({**SMALL, "UnpackBigParamInfor@@": {"conv.weight": {"slices": []}}}, protocol=2)
        with pytest.raises(BackboneError, match="old Paddle has split"):
            read_pdparams(data)


class Run:
    """Pickles to a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def array(shape: bytes = b"K\x02\x85", dtype: bytes = b"f4", order: bytes = b"<", fortran: bytes = b"\x89") -> bytes:
    """A numpy array as its instructions, of two float32 unless told otherwise."""
    made = b"cnumpy\ndtype\n" + text(dtype.decode()) + b"\x89\x88\x87R(K\x03" + text(order.decode())
    made += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    return start + b"(K\x01" + shape + made + fortran + b"C\x08" + bytes(8) + b"tb"


def named(value: bytes) -> bytes:
    return b"\x80\x03}" + text("a") + value + b"s."


REPEATED_TEXT = (
    b"\x80\x02}c_codecs\nencode\nq\x00" + text("\x01" * 100_000) + b"q\x01" + text("latin1") + b"q\x02"
    b"](" + b"h\x00h\x01h\x02\x86R" * 20_000 + b"e."
)
HOSTILE_PICKLES = {
    "empty": b"",
    "text": b"not a weight file",
    "torch zip": b"PK\x03\x04" + bytes(100),
    "protocol 5": pickle.dumps({"a": 1}, protocol=5),
    "cut off": state_file(SMALL, INTERNAL)[:-30],
    "trailing bytes": state_file(SMALL, INTERNAL) + b"\0",
    "a list": pickle.dumps([1], protocol=4),
    "numbers": pickle.dumps({"a": 1.5}, protocol=4),
    "float64": pickle.dumps({"a": np.zeros(3)}, protocol=4),
    "object array": pickle.dumps({"a": np.array([{}, None])}, protocol=4),
    "record array": pickle.dumps({"a": np.zeros(2, [("x", "f4")])}, protocol=4),
    "fortran order": pickle.dumps({"a": np.asfortranarray(np.ones((2, 3), np.float32))}, protocol=4),
    "big-endian": pickle.dumps({"a": np.ones(3, ">f4")}, protocol=4),
    "a scalar of numpy": pickle.dumps({"a": np.float32(1)}, protocol=4),
    "a class": pickle.dumps({"a": Path("x")}, protocol=4),
    "nested tensors": pickle.dumps({"model_state_dict": {"a": {"b": SMALL["bn.bias"]}}}, protocol=4),
    "array without state": named(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"),
    "state of a number": named(b"K\x01)b"),
    "state of a dictionary": named(b"})b"),
    "shape beyond the bytes": named(array(shape=b"K\x03\x85")),
    "negative shape": named(array(shape=b"J\xff\xff\xff\xff\x85")),
    "shape of 2**62": named(array(shape=b"\x8a\x08" + struct.pack("<q", 2**62) + b"K\x00\x86")),
    "too many dimensions": named(array(shape=b"(" + b"K\x01" * 70 + b"K\x02t")),
    "shape of texts": named(array(shape=text("x") + b"\x85")),
    "shape of truth": named(array(shape=b"\x88K\x02\x86")),
    "unknown dtype": named(array(dtype=b"O8")),
    "dtype without order": named(array(order=b"|O")),
    "called dtype of nothing": named(b"cnumpy\ndtype\n)R"),
    "called array": named(b"cnumpy\nndarray\n)R"),
    "called text": named(text("x") + b")R"),
    "called with no tuple": named(b"cnumpy\ndtype\nK\x01R"),
    "stack global of numbers": b"\x80\x04K\x01K\x02\x93.",
    "unknown stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "long integer": b"\x80\x04\x8a\xff" + b"\xff" * 255 + b".",
    "encode to another code": b"\x80\x02}c_codecs\nencode\n" + text("x") + text("utf-16") + b"\x86Rs.",
    "encode what is not Latin": named(b"c_codecs\nencode\n" + text("\u20ac") + text("latin1") + b"\x86R"),
    "the same text again and again": REPEATED_TEXT,
    "persistent id": b"\x80\x02K\x01Q.",
    "deep nesting": b"\x80\x02)" + b"\x85" * 150_000 + b".",
    "huge text": b"\x80\x04X\xff\xff\xff\xff.",
    "huge bytes": b"\x80\x04B\xff\xff\xff\xff.",
    "endless memo": b"\x80\x04N" + b"\x94" * 300_000,
    "float cut off": b"\x80\x04G\x00",
}


@pytest.mark.parametrize("data", HOSTILE_PICKLES.values(), ids=HOSTILE_PICKLES.keys())
def test_refuses_hostile_pickles_in_little_memory(data: bytes):
    tracemalloc.start()
    try:
        with pytest.raises(BackboneError) as refusal:
            read_pdparams(data)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()
    assert len(str(refusal.value)) < 250 and "\n" not in str(refusal.value)


def test_the_instructions_of_the_hostile_arrays_are_sound():
    np.testing.assert_array_equal(read_pdparams(named(array()))["a"], [0, 0])


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("function", [os.system, eval, exec, open, getattr, pickle.loads])
def test_runs_nothing(function: Any, protocol: int, tmp_path: Path):
    witness = tmp_path / "witness"
    arguments = {
        os.system: (f"touch {witness}",),
        open: (str(witness), "w"),
        getattr: ("", "join"),
        pickle.loads: (pickle.dumps(Run(open, str(witness), "w")),),
    }.get(function, (f"open({str(witness)!r}, 'w')",))
    for content in (Run(function, *arguments), {**SMALL, "a": Run(function, *arguments)}):
        data = pickle.dumps(content, protocol=protocol)
        for read in (read_pdparams, lambda data: names_from_info(data, 1)):
            with pytest.raises(BackboneError):
                read(data)
    assert not witness.exists()


def read_or_refuse(read: Callable[[bytes], Any], data: bytes) -> None:
    """A changed file is refused, or read as tensors that can be looked at to the last element."""
    try:
        found = read(data)
    except BackboneError as error:
        assert "\n" not in str(error)
        return
    for values in found.values() if isinstance(found, dict) else found:
        assert values.nbytes <= 2 * len(data)
        values.tobytes()


PICKLES = [state_file(SMALL, INTERNAL, 4), state_file(SMALL, INTERNAL, 2), checkpoint(SMALL, 4), checkpoint(SMALL, 2)]
RECORDS = b"".join(map(record, SMALL.values()))
EDITS = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6), st.integers(0, 6)), min_size=1, max_size=4)


def edited(data: bytes, edits: list[tuple[float, bytes, int]]) -> bytes:
    for place, inserted, removed in edits:
        position = int(place * len(data))
        data = data[:position] + inserted + data[position + removed :]
    return data


@settings(max_examples=300, deadline=None)
@given(EDITS, st.sampled_from(PICKLES), st.floats(0, 1))
def test_pickles_with_changed_bytes(edits: list[tuple[float, bytes, int]], data: bytes, share: float):
    read_or_refuse(read_pdparams, edited(data, edits))
    read_or_refuse(read_pdparams, data[: int(share * len(data))])


CODES = [bytes([c]) for c in b"\x80\x95(qr\x94hjKMJ\x8aGX\x8cBCN\x88\x89}])t\x85\x86\x87aesuc\x93RQb.\x00\x01\x02"]
VALUES = [array(), b"cnumpy\ndtype\n", b"cbuiltins\ntuple\n", b"c_codecs\nencode\n", text("f4"), text("latin1")]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from([*CODES, *VALUES])), st.sampled_from([b"\x80\x02", b"\x80\x04"]))
def test_random_programs(program: list[bytes], start: bytes):
    read_or_refuse(read_pdparams, start + b"".join(program) + b".")


class TestRecords:
    def test_reads_what_paddle_writes(self):
        read = read_records(RECORDS)
        assert len(read) == 2
        for ours, theirs in zip(read, SMALL.values(), strict=True):
            np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            RECORDS[:-1],
            RECORDS + b"\0",
            record(SMALL["bn.bias"], kind=6),
            struct.pack("<IQIi", 0, 0, 0, -1),
            struct.pack("<IQIi", 0, 0, 0, 2**31 - 1),
            struct.pack("<IQIi", 1, 0, 0, 0) + RECORDS[20:],
            struct.pack("<IQIi", 0, 1, 0, 0) + RECORDS[20:],
            struct.pack("<IQIi", 0, 0, 0, 2) + b"\x08\x05",  # no dimension
            struct.pack("<IQIi", 0, 0, 0, 4) + b"\x08\x05\x10\x00",  # of no size
            struct.pack("<IQIi", 0, 0, 0, 8) + b"\x08\x05\x10\xff\xff\xff\xff\x07",  # 2 G elements
            struct.pack("<IQIi", 0, 0, 0, 13) + b"\x08\x05\x10" + b"\xff" * 9 + b"\x01",  # of size -1
            struct.pack("<IQIi", 0, 0, 0, 22) + b"\x08\x05" + b"\x10\x01" * 10 + bytes(4),  # of ten dimensions
            struct.pack("<IQIi", 0, 0, 0, 6) + b"\x08\x05\x10\x01\x18\x01" + bytes(4),  # with an unknown field
            struct.pack("<IQIi", 0, 0, 0, 5) + b"\x08\x05\x12\x01\x01" + bytes(4),  # dimensions in one field
            struct.pack("<IQIi", 0, 0, 0, 3) + b"\x08\x05\x10" + bytes(4),  # a header that is cut off
        ],
    )
    def test_refuses_anything_else(self, data: bytes):
        with pytest.raises(BackboneError):
            read_records(data)

    @settings(max_examples=300, deadline=None)
    @given(EDITS)
    def test_changed_bytes(self, edits: list[tuple[float, bytes, int]]):
        read_or_refuse(read_records, edited(RECORDS, edits))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_header(self, header: bytes):
        read_or_refuse(read_records, struct.pack("<IQIi", 0, 0, 0, len(header)) + header + bytes(64))


class TestNames:
    def test_in_the_order_of_the_layers(self):
        names = names_by_order(200)
        assert len(set(names)) == 200 and names[:4] == [
            f"student.model.1.{part}" for part in ("bias", "weight", "_mean", "_variance")
        ]
        assert names[4] == "student.model.4.0.bn1.bias"  # number 1; number 10 comes next: layer3's shortcut
        assert names[8] == "student.model.6.0.downsample.1.bias"
        assert set(names_by_order(150)) == {name for name in names if ".model.7." not in name}

    @pytest.mark.parametrize("count", [0, 1, 100, 149, 151, 199, 250])
    def test_another_number_of_tensors(self, count: int):
        with pytest.raises(BackboneError, match="150 or 200"):
            names_by_order(count)

    @pytest.mark.parametrize(
        "program",
        [
            b"",
            b"[]",
            b"{}",
            b'{"program": {"regions": []}}',
            b'{"program": {"regions": [{"blocks": [{"ops": 1}]}]}}',
            b'{"program": {"regions": [{"blocks": [{"ops": [{"#": "p", "A": [0]}]}]}]}}',
            b'{"program": {"regions": [{"blocks": [{"ops": [[]]}]}]}}',
            b"[" * 100_000,
            b"\xff\xfe",
        ],
    )
    def test_refuses_other_programs(self, program: bytes):
        with pytest.raises(BackboneError, match="no program of Paddle 3"):
            names_from_program(program, 1)

    @pytest.mark.parametrize("name", ["linear_0.w_0", "conv2d_0.w_1x", "conv2d_9999999999.w_0", "conv2d_0.w_0"])
    def test_refuses_programs_of_other_networks(self, name: str):
        operations = f'[{{"#": "p", "A": [0, 1, 1, "{name}"]}}]'
        program = f'{{"program": {{"regions": [{{"blocks": [{{"ops": {operations}}}]}}]}}}}'
        with pytest.raises(BackboneError, match="no weights of STFPM"):
            names_from_program(program.encode(), 1)

    def test_refuses_another_count(self):
        info = pickle.dumps({"conv2d_0.w_0": {"structured_name": "student.model.0.weight"}}, protocol=2)
        assert names_from_info(info, 1) == ["student.model.0.weight"]
        with pytest.raises(BackboneError, match="names 1 tensors"):
            names_from_info(info, 2)
        with pytest.raises(BackboneError, match="structured_name"):
            names_from_info(pickle.dumps({"a": 1}, protocol=2), 1)


def special(kind: bytes, **changes: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("x/inference.pdiparams")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    return buffer.getvalue()


def with_header(data: bytes, start: int, content: bytes) -> bytes:
    """The archive with other bytes in its second header, and the checksum made right."""
    header = bytearray(data[512:1024])
    header[start : start + len(content)] = content
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:512] + bytes(header) + data[1024:]


FILES = {"inference.pdiparams": b"x" * 1000, "inference.yml": b"y", "empty": b""}
GOOD = tar(FILES)


class TestTar:
    @pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_reads_every_form(self, form: int):
        found = read_tar(tar(FILES, form=form))
        assert {name: bytes(content) for name, content in found.items()} == FILES

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (b"", "no files"),
            (bytes(10_240), "no files"),
            (b"\x1f\x8b" + b"compressed" * 100, "compressed"),
            (GOOD[:1500], "cut off"),
            (with_header(GOOD, 124, b"77777777777\0"), "cut off"),
            (with_header(GOOD, 124, b"-0000000010\0"), "damaged"),
            (with_header(GOOD, 124, b"\x80" + bytes(11)), "damaged"),
            (GOOD[:600] + b"X" + GOOD[601:], "damaged"),
            (special(tarfile.SYMTYPE), "links or special"),
            (special(tarfile.LNKTYPE), "links or special"),
            (special(tarfile.FIFOTYPE), "links or special"),
            (special(tarfile.CHRTYPE), "links or special"),
            (with_header(GOOD, 156, b"S"), "links or special"),
            (with_header(GOOD, 0, b"STFPM_infer/inference.yml\0"), "two files called"),
            (tar({f"{number}": b"" for number in range(250)}), "more than 200"),
        ],
    )
    def test_refuses_anything_else(self, data: bytes, says: str):
        with pytest.raises(BackboneError, match=says):
            read_tar(data)

    def test_names_never_lead_out(self):
        found = read_tar(with_header(GOOD, 0, b"../../../etc/passwd\0"))
        assert "passwd" in found and not any("/" in name for name in found)

    @pytest.mark.parametrize("seed", range(60))
    def test_changed_bytes(self, seed: int):
        rng = random.Random(seed)
        changed = bytearray(GOOD)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(3000)] = rng.randrange(256)
        with contextlib.suppress(BackboneError):
            assert sum(len(content) for content in read_tar(bytes(changed)).values()) <= len(changed)
