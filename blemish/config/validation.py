"""From plain data to typed records: every fault becomes one line with the key, the value and the way out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from blemish.config.sections import RunConfig
from blemish.errors import UsageError, did_you_mean

M = TypeVar("M", bound=BaseModel)
_PLAIN_WORDS = {
    "be a valid string": "be text",
    "be a valid number": "be a number",
    "be a valid integer": "be a whole number",
    "be a valid boolean": "be true or false",
    "be a valid list": "be a list",
}


def validate_section(model_class: type[M], data: dict[str, Any], where: str) -> M:
    """The record `model_class` from `data`, whose keys stand at `where` ("Model", or "" for a whole file).

    All faults come as one `UsageError` line; an unknown key gets the closest known one, of any section.
    """
    try:
        return model_class.model_validate(data)
    except ValidationError as error:
        known = [*known_keys(RunConfig), *known_keys(model_class, where)]
        faults = [_describe(fault, where, known) for fault in error.errors(include_url=False)]
        raise UsageError(" ".join(faults)) from None


def known_keys(model_class: type[BaseModel], where: str = "") -> list[str]:
    """Every dotted key of a record and of the records inside it, without the names of the sections themselves."""
    return list(_walk(model_class, where))


def suggestion(key: str, known: Sequence[str]) -> str:
    """' Did you mean `Section.key`?': the same key in another section first, then the closest spelling."""
    last = key.rsplit(".", 1)[-1].lower()
    for candidate in known:
        if candidate.rsplit(".", 1)[-1].lower() == last:
            return f" Did you mean `{candidate}`?"
    return did_you_mean(key, known) or _by_last_part(last, known)


def _walk(model_class: type[BaseModel], where: str) -> Iterator[str]:
    for name, field in model_class.model_fields.items():
        key = f"{where}.{name}" if where else name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _walk(field.annotation, key)
        else:
            yield key


def _by_last_part(last: str, known: Iterable[str]) -> str:
    """A close spelling of the last part alone, in whatever section it is."""
    by_name = {key.rsplit(".", 1)[-1]: key for key in known}
    hint = did_you_mean(last, by_name)
    return f" Did you mean `{by_name[hint.split('`')[1]]}`?" if hint else ""


def _describe(fault: Any, where: str, known: Sequence[str]) -> str:
    """One sentence about one pydantic error."""
    key = ".".join(str(part) for part in (where, *fault["loc"]) if part != "")
    value = fault["input"]
    if fault["type"] == "extra_forbidden":
        return _unknown(key, value, known)
    if fault["type"] == "missing":
        return f"{key} is missing."
    if fault["type"].startswith(("model_", "dict_")):
        return f"{key or 'The file'} is {value!r}, but should be a section with keys of its own."
    wanted = fault["msg"].removeprefix("Value error, ").removeprefix("Input should ")
    wanted = _PLAIN_WORDS.get(wanted, wanted)
    if wanted == "be text" and isinstance(value, (bool, int, float)):
        wanted += " (put it in quotes)"
    hint = did_you_mean(value, _choices(wanted)) if isinstance(value, str) else ""
    return f"{key} is {value!r}, but should {wanted}.{hint}"


def _unknown(key: str, value: object, known: Sequence[str]) -> str:
    """The sentence about an unknown key; of an unknown section with content, its first key is the one to look for."""
    while isinstance(value, dict) and value:
        first = next(iter(value))
        key, value = f"{key}.{first}", value[first]
    if "." not in key:
        return f"Unknown key {key}.{did_you_mean(key, dict.fromkeys(name.split('.')[0] for name in known))}"
    return f"Unknown key {key}.{suggestion(key, known)}"


def _choices(wanted: str) -> list[str]:
    """The words a closed list of values names: "be 'fast', 'balanced' or 'accurate'", "be one of train, predict"."""
    text = wanted.removeprefix("be ").removeprefix("one of ").replace(" or ", ", ")
    return [word.strip("' ") for word in text.split(",")]
