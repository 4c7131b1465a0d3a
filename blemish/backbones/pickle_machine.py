"""A stack machine for the pickles that weight files are made of; it builds plain data and calls nothing.

A pickle is a program. This machine has only the instructions that dictionaries of tensors need, and knows only the
globals of the dialect it is given, all inert: the dialect says what a "call" of one of them stands for. Whatever a
file says, its lengths are checked against the bytes that are there before anything is read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from blemish.errors import BackboneError

_MAX_INSTRUCTIONS = 200_000  # a stream; EfficientNet-Lite0 in torch's format needs 10,696
_MAX_NAME = 40  # characters; no known global has more in its module or its name
_MAX_INTEGER = 8  # bytes


@dataclass(frozen=True)
class Global:
    """A name that a pickle may mention, `module name`; it stands for nothing but itself."""

    name: str


@dataclass(frozen=True)
class Dialect:
    """The pickles of one kind of file.

    Attributes:
        protocols: the pickle protocols it comes in.
        known: the only globals that may be mentioned, by their name.
        call: the value that a call of a global with a tuple of arguments stands for.
        build: completes a value, in place, with its state.
        persistent: the value that a persistent id stands for, or None where there are no such ids.
        max_text: bytes that a string may have.
    """

    protocols: frozenset[int]
    known: Mapping[str, Global]
    call: Callable[[Global, tuple[Any, ...]], Any]
    build: Callable[[Any, Any], None]
    persistent: Callable[[Any], Any] | None = None
    max_text: int = 1000


class Cursor:
    """A position in the bytes that never passes their end."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data, self._position = memoryview(data), position

    def take(self, count: int) -> memoryview:
        """The next bytes, not copied; `BackboneError` if there are fewer."""
        start, self._position = self._position, self._position + count
        require(self._position <= len(self._data), "more bytes (the file is cut off)")
        return self._data[start : self._position]

    def number(self, size: int, signed: bool = False) -> int:
        """A little-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def text(self, size: int) -> str:
        """UTF-8 of `size` bytes."""
        try:
            return str(self.take(size), "utf-8")
        except UnicodeDecodeError:
            raise refusal("text in UTF-8") from None

    def line(self) -> str:
        """ASCII text up to a newline, no longer than the name of a known global."""
        characters = bytearray()
        while (byte := self.take(1)[0]) != 0x0A:
            characters.append(byte)
            require(len(characters) <= _MAX_NAME and byte < 0x80, "the names of known globals")
        return characters.decode("ascii")

    def at_end(self) -> bool:
        """Whether all bytes are taken."""
        return self._position == len(self._data)


def run_pickle(cursor: Cursor, dialect: Dialect) -> Any:
    """The value of the pickle at the cursor, which is left behind it; `BackboneError` for anything not in the dialect.

    Bytes come as views of the data, dictionaries have string keys.
    """
    machine = _Machine(cursor, dialect)
    for _ in range(_MAX_INSTRUCTIONS):
        code = cursor.take(1)[0]
        if code == ord("."):
            require(len(machine.stack) == 1 and not machine.marks, "one value in a stream")
            return machine.stack[0]
        require(code in _INSTRUCTIONS, f"no pickle instruction 0x{code:02x}")
        _INSTRUCTIONS[code](machine)
    raise refusal(f"at most {_MAX_INSTRUCTIONS:,} instructions")


def require(condition: bool, expected: str) -> None:
    """Refuse the file unless the condition holds."""
    if not condition:
        raise refusal(expected)


def refusal(expected: str) -> BackboneError:
    """The error for a file that does not hold what it should."""
    return BackboneError(f"weight file refused: expected {expected}")


@dataclass
class _Machine:
    """The state of one run."""

    cursor: Cursor
    dialect: Dialect
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        require(len(self.stack) > (self.marks[-1] if self.marks else 0), "a value on the stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        require(bool(self.marks), "a mark on the stack")
        start = self.marks.pop()
        values, self.stack[start:] = self.stack[start:], []
        return values

    def pop_tuple(self, count: int) -> None:
        self.push(tuple([self.pop() for _ in range(count)][::-1]))

    def top(self, kind: type[Any]) -> Any:
        require(bool(self.stack) and isinstance(self.stack[-1], kind), f"a {kind.__name__} on the stack")
        return self.stack[-1]

    def put(self, index: int) -> None:
        self.memo[index] = self.top(object)

    def get(self, index: int) -> None:
        require(index in self.memo, "a remembered value")
        self.push(self.memo[index])

    def protocol(self) -> None:
        known = self.dialect.protocols
        require(self.cursor.number(1) in known, f"pickle protocol {' or '.join(map(str, sorted(known)))}")

    def frame(self) -> None:
        """A frame's length is only a hint for reading ahead."""
        self.cursor.take(8)

    def text(self, size_bytes: int) -> None:
        size = self.cursor.number(size_bytes)
        require(size <= self.dialect.max_text, f"strings of at most {self.dialect.max_text:,} bytes")
        self.push(self.cursor.text(size))

    def integer(self) -> None:
        size = self.cursor.number(1)
        require(size <= _MAX_INTEGER, f"integers of at most {_MAX_INTEGER} bytes")
        self.push(self.cursor.number(size, signed=True))

    def append(self, values: list[Any]) -> None:
        self.top(list).extend(values)

    def set_items(self, values: list[Any]) -> None:
        """String keys only: hashing a deeply nested tuple would overflow the C stack."""
        target = self.top(dict)
        require(len(values) % 2 == 0 and all(type(key) is str for key in values[::2]), "string keys")
        target.update(zip(values[::2], values[1::2], strict=True))

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def global_name(self, module: Any, name: Any) -> None:
        known = self.dialect.known
        require(type(module) is str and type(name) is str, "the names of known globals")
        full = f"{module} {name}"
        require(full in known, f"no global `{ascii(full)[1:-1][: 2 * _MAX_NAME]}`")
        self.push(known[full])

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        self.global_name(module, name)

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise refusal("a call of a known global")
        self.push(self.dialect.call(function, arguments))

    def persistent(self) -> None:
        if self.dialect.persistent is None:
            raise refusal("no persistent ids")
        self.push(self.dialect.persistent(self.pop()))

    def build(self) -> None:
        state = self.pop()
        self.dialect.build(self.top(object), state)


def _table() -> dict[int, Callable[[_Machine], None]]:
    """The instructions of pickle protocols 2 to 4 that a state dictionary needs, by their code."""
    named: dict[str, Callable[[_Machine], None]] = {
        "\x80": _Machine.protocol,
        "\x95": _Machine.frame,
        "(": lambda m: m.marks.append(len(m.stack)),
        "q": lambda m: m.put(m.cursor.number(1)),
        "r": lambda m: m.put(m.cursor.number(4)),
        "\x94": lambda m: m.put(len(m.memo)),
        "h": lambda m: m.get(m.cursor.number(1)),
        "j": lambda m: m.get(m.cursor.number(4)),
        "K": lambda m: m.push(m.cursor.number(1)),
        "M": lambda m: m.push(m.cursor.number(2)),
        "J": lambda m: m.push(m.cursor.number(4, signed=True)),
        "\x8a": _Machine.integer,
        "G": lambda m: m.push(struct.unpack(">d", m.cursor.take(8))[0]),
        "X": lambda m: m.text(4),
        "\x8c": lambda m: m.text(1),
        "B": lambda m: m.push(m.cursor.take(m.cursor.number(4))),
        "C": lambda m: m.push(m.cursor.take(m.cursor.number(1))),
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "}": lambda m: m.push({}),
        "]": lambda m: m.push([]),
        ")": lambda m: m.push(()),
        "t": lambda m: m.push(tuple(m.pop_to_mark())),
        "\x85": lambda m: m.pop_tuple(1),
        "\x86": lambda m: m.pop_tuple(2),
        "\x87": lambda m: m.pop_tuple(3),
        "a": lambda m: m.append([m.pop()]),
        "e": lambda m: m.append(m.pop_to_mark()),
        "s": _Machine.set_item,
        "u": lambda m: m.set_items(m.pop_to_mark()),
        "c": lambda m: m.global_name(m.cursor.line(), m.cursor.line()),
        "\x93": _Machine.stack_global,
        "R": _Machine.call,
        "Q": _Machine.persistent,
        "b": _Machine.build,
    }
    return {ord(code): instruction for code, instruction in named.items()}


_INSTRUCTIONS = _table()
