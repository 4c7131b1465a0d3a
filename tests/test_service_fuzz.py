"""Requests that schemathesis makes up from the OpenAPI document: no 5xx, and only what the document says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from served import serving, tiny_folder

_EXAMPLES = 12


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("fuzz")
    with serving(tiny_folder(root / "bottle"), "--output", root / "out", "--keep", "none") as running:
        yield running.url


def test_the_routes_keep_to_their_document(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        if operation.label == "DELETE /v1/models/{name}":
            continue  # the others need the model

        @settings(
            max_examples=_EXAMPLES,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            deadline=None,
            derandomize=True,
        )
        @given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            if case.path_parameters and "name" in case.path_parameters:
                case.path_parameters["name"] = "bottle"  # a name that is made up would only ever be unknown
            if isinstance(case.body, dict) and operation.label.endswith("/rename"):
                case.body["name"] = "bottle"
            case.call_and_validate(headers={"Connection": "close"})

        check()
