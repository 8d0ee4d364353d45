"""The API against its own OpenAPI document: schemathesis asks what it allows, and what it does not.

No answer is an error of the server, and each has a status, a media type and a shape that the
document promises.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import positive_data_acceptance

from edge_app.web.app import make_app
from tests.tiny_bundle import write_tiny_bundle
from tests.web_station import HOST, add, client_of, film, opened_desk, opened_station

OPERATIONS = (
    "POST /api/v1/studies",
    "GET /api/v1/studies",
    "GET /api/v1/studies/{study_id}",
    "GET /api/v1/studies/{study_id}/fhir",
)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], str]]:
    """The operations by name, and the identifier of a study that is there."""
    folder = tmp_path_factory.mktemp("station")
    with (
        opened_desk(write_tiny_bundle(folder / "bundle")) as desk,
        opened_station(desk, folder / "record") as station,
    ):
        study = add(client_of(station), film(1), patient="P1")
        app = make_app(station, (HOST, "testserver"))
        schema = schemathesis.openapi.from_asgi("/api/openapi.json", app)
        found = [result.ok() for result in schema.get_all_operations()]
        yield {operation.label: operation for operation in found}, study["id"]


def test_these_are_all_operations(known: tuple[dict[str, Any], str]) -> None:
    assert set(known[0]) == set(OPERATIONS)


@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.parametrize("examples", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_every_answer_is_one_that_is_promised(
    known: tuple[dict[str, Any], str], label: str, examples: int
) -> None:
    operations, there = known

    @given(case=operations[label].as_strategy(), is_known=st.booleans())
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any, is_known: bool) -> None:
        if is_known and "study_id" in case.path_parameters:
            case.path_parameters["study_id"] = there
        # Bytes that are no picture are refused, and no description of bytes says which are.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    ask()
