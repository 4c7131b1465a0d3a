"""The run file: found by path or packaged name, overridden by `-o Section.key=value`, validated, written back."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast, get_args

from blemish.config.sections import RunConfig, Section
from blemish.config.validation import known_keys, suggestion, validate_section
from blemish.config.yaml_text import dump_yaml, parse_value, read_yaml
from blemish.errors import UsageError, did_you_mean

MODULES = Path(str(files("blemish.configs"))) / "modules" / "image_anomaly_detection"


def load_config(path_or_name: str | Path | None, overrides: Sequence[str] = ()) -> RunConfig:
    """The run file at a path, or the packaged one of that name (`PatchCore`), with `Section.key=value` overrides.

    `None` takes all defaults. Raises `UsageError` for a missing file, an unknown key (with the closest known one) or a
    value of the wrong type.
    """
    data = read_yaml(find_config(path_or_name)) if path_or_name is not None else {}
    for override in overrides:
        apply_override(data, override)
    return validate_section(RunConfig, data, "")


def dump_config(config: RunConfig) -> str:
    """The whole resolved configuration as YAML; `load_config` reads it back as an equal one."""
    return dump_yaml(config.model_dump())


def packaged_configs() -> dict[str, Path]:
    """The run files that come with the package, by name."""
    return {path.stem: path for path in sorted(MODULES.glob("*.yaml"))}


def find_config(path_or_name: str | Path) -> Path:
    """The file that `-c` means.

    A bare name is a packaged run file, whatever lies in the working folder. A path is a file; a tutorial's path that
    leads through a folder `configs` need not exist and then means the packaged file of that name.
    """
    path = Path(path_or_name).expanduser()
    packaged = {name.lower(): file for name, file in packaged_configs().items()}
    by_name = packaged.get(path.stem.lower() if path.suffix in (".yaml", ".yml") else path.name.lower())
    is_bare = str(path_or_name) == path.name and not path.suffix
    if by_name and is_bare:
        return by_name
    if path.exists():
        return path
    if by_name and not path.is_absolute() and (len(path.parts) == 1 or "configs" in path.parts[:-1]):
        return by_name
    hint = did_you_mean(path.stem, packaged_configs())
    raise UsageError(f"No run file {path}; packaged ones: {', '.join(packaged_configs())}.{hint}")


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one `A.b.c=value` in nested data; a number in the key counts the elements of a list from 0."""
    key, equals, text = override.partition("=")
    key = key.strip()
    parts = key.split(".")
    if not equals or not all(parts) or len(parts) < 2:
        raise UsageError(f"-o {override}: write Section.key=value, for example Global.device=cpu.")
    node: Any = data
    for depth, part in enumerate(parts[:-1], start=1):
        node = _step(node, part, ".".join(parts[:depth]))
    _assign(node, parts[-1], _typed(key, text), key)


def _step(node: Any, part: str, key: str) -> Any:
    """The section or list below `part`; an absent or empty section is made."""
    if isinstance(node, list):
        return node[_position(node, part, key)]
    section = _section(node, part, key)
    if section.get(part) is None:
        section[part] = {}
    return section[part]


def _assign(node: Any, part: str, value: Any, key: str) -> None:
    if isinstance(node, list):
        node[_position(node, part, key)] = value
    else:
        _section(node, part, key)[part] = value


def _section(node: Any, part: str, key: str) -> dict[str, Any]:
    if isinstance(node, dict) and not part.isdigit():
        return node
    if part.isdigit():
        raise UsageError(f"{key}: there is no list to count in; give the list whole, for example Section.key=[1, 2].")
    raise UsageError(f"{key}: there is a value above it, not a section.{suggestion(key, known_keys(RunConfig))}")


def _position(items: list[Any], part: str, key: str) -> int:
    if not (part.isascii() and part.isdigit() and len(part) < 10 and int(part) < len(items)):
        raise UsageError(f"{key}: the list has {len(items)} elements, counted from 0.")
    return int(part)


def _typed(key: str, text: str) -> Any:
    """The override's value; where the key holds text, `2024` and `1e3` stay text (a folder may be called so)."""
    value = parse_value(text, f"-o {key}")
    if _holds_text(key) and isinstance(value, (bool, int, float)):
        return text.strip()
    return value


def _holds_text(key: str) -> bool:
    model: type[Section] = RunConfig
    *sections, last = key.split(".")
    for name in sections:
        if not model.is_section(name):
            return False
        model = cast("type[Section]", model.model_fields[name].annotation)
    return last in model.model_fields and _takes_text(model.model_fields[last].annotation)


def _takes_text(annotation: Any) -> bool:
    """Whether a type is `str`, or an `Annotated` or optional one."""
    return annotation is str or any(_takes_text(part) for part in get_args(annotation) if not isinstance(part, str))
