"""XML of annotation tools, which comes from others: no DOCTYPE, whatever encoding."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from blemish.datasets.files import decode_text
from blemish.errors import DatasetError

_DECLARED = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([\w.-]+)[\"']")


def parse_xml(content: bytes) -> Element:
    """The root element; `DatasetError` for damaged XML, and for any DOCTYPE: entities in it can name other files."""
    builder, parser = TreeBuilder(), expat.ParserCreate("utf-8")
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(_text(content).encode(), True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise DatasetError(f"is not readable XML: {error}") from None


def _text(content: bytes) -> str:
    """The text in the declared encoding: expat itself knows none of several bytes but UTF-8 and UTF-16."""
    declared = _DECLARED.match(content.lstrip()[:200])
    try:
        return decode_text(content, declared[1].decode().lower() if declared else "").lstrip()
    except DatasetError as error:
        raise DatasetError(f"is not readable XML: it {error}") from None


def _refuse_doctype(*_: object) -> None:
    raise DatasetError("declares a DOCTYPE, which no annotation needs; remove it")
