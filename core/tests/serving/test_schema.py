"""Bodies as `/openapi.json` describes them, and bodies that it forbids: never a 5xx."""

from __future__ import annotations

from http import HTTPStatus

import hypothesis
import schemathesis
from schemathesis.checks import not_a_server_error

from core.tests.serving.spawned import Spawned

EXAMPLES_PER_OPERATION = 20


def test_no_body_is_answered_with_a_server_error(server: Spawned) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    count = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        count += 1

        @hypothesis.settings(max_examples=EXAMPLES_PER_OPERATION, deadline=None, derandomize=True, database=None)
        @hypothesis.given(case=operation.as_strategy())
        def asked(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=[not_a_server_error], timeout=60)

        asked()
    assert count > 10
    with server.client() as client:
        assert client.get("/health").status_code == HTTPStatus.OK
