"""Requests that schemathesis makes up from the OpenAPI document: no 5xx, and only what the document says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from command import blemish
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from served import serving, tiny_folder

_EXAMPLES = 12


@schemathesis.serializer("application/zip", "image/*")
def as_bytes(_context: object, value: Any) -> Any:
    """Such bodies are bytes."""
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and token of a server that asks for one."""
    root = tmp_path_factory.mktemp("fuzz")
    token = blemish("serve", "--create-token", "admin", "--output", root / "out").stdout.strip()
    with serving(tiny_folder(root / "bottle"), "--output", root / "out", "--keep", "none") as running:
        yield running.url, token


def test_the_routes_keep_to_their_document(place: tuple[str, str]) -> None:
    url, token = place
    operations = [found.ok() for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        if operation.label != "DELETE /v1/models/{name}":  # the others need the model
            fuzz(operation, token)


def fuzz(operation: Any, token: str) -> None:
    """Several made-up requests of one operation."""

    @settings(
        max_examples=_EXAMPLES,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
        derandomize=True,
    )
    @given(case=operation.as_strategy())
    def check(case: schemathesis.Case) -> None:
        if "name" in (case.path_parameters or {}):
            case.path_parameters["name"] = "bottle"  # a name that is made up would only ever be unknown
        if operation.label.endswith("/rename") and isinstance(case.body, dict) and "name" in case.body:
            case.body["name"] = "bottle"
        # that some bytes are no image is nothing that the document can say
        allowed = [positive_data_acceptance]
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, excluded_checks=allowed)

    check()
