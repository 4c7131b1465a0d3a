"""YAML in and out, safely: plain data only, one rule for what a bare word means, files and overrides alike.

The rule is YAML 1.2's core schema, with `None` beside `null` and numbers that start with a needless zero left as
text: `1e-3` is a number, `yes`, `on`, `001` and `12:30` are text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from blemish.errors import UsageError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32

_WORDS = (
    ("tag:yaml.org,2002:null", re.compile(r"null|Null|NULL|None|~|"), ["n", "N", "~", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9]{0,18})", re.ASCII), list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII),
        list("-+.0123456789"),
    ),
)


class _Loader(yaml.SafeLoader):
    """Plain data only; refuses aliases (no alias bombs), tags, duplicate keys, keys that are not text, deep nesting."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (PyYAML's own attribute)
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self._refuse("aliases (`*name`) are not allowed")
        if getattr(self.peek_event(), "tag", None) is not None:  # type: ignore[no-untyped-call]
            self._refuse("tags (`!name`) are not allowed")
        if self.depth >= MAX_DEPTH:
            self._refuse("nested too deeply")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def _refuse(self, problem: str) -> None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise yaml.MarkedYAMLError(problem="a key is not text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key `{key.value}` stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that our rule or YAML 1.1's would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  (PyYAML's signature)
        return True


for _tag, _pattern, _first in _WORDS:
    _whole = re.compile(rf"(?:{_pattern.pattern})$", _pattern.flags)  # PyYAML matches from the start only
    _Loader.add_implicit_resolver(_tag, _whole, _first)
    _Dumper.add_implicit_resolver(_tag, _whole, _first)


def parse_yaml(text: str, where: str) -> Any:
    """The plain data in `text`; `UsageError` names `where` and the line."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        said = [getattr(error, "context", None), getattr(error, "problem", None)]
        problem = ", ".join(part for part in said if part) or str(error).splitlines()[0]
        raise UsageError(f"{where}{line}: not usable YAML: {problem}.") from None


def parse_value(text: str, where: str) -> Any:
    """The value of an override: a list in brackets, quoted text, a number, a truth value, nothing, or plain text."""
    stripped = text.strip()
    if stripped[:1] == "[" or (len(stripped) > 1 and stripped[0] in "\"'" and stripped[-1] == stripped[0]):
        return parse_yaml(stripped, where)
    for tag, pattern, _ in _WORDS:
        if pattern.fullmatch(stripped):
            return _Loader("").construct_object(yaml.ScalarNode(tag, stripped))
    return text


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file of at most `MAX_BYTES`; an empty file is an empty mapping."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {(error.strerror or str(error)).lower()}.") from None
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES // 1024} KiB; that is no run file.")
    try:
        data = parse_yaml(raw.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UsageError(f"{path} holds no sections; a run file looks like `Global:` with indented keys below it.")
    return data


def dump_yaml(data: dict[str, Any]) -> str:
    """YAML text that `parse_yaml` reads back as the same data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
