"""Fixtures for the tests of all libraries."""

import sys

import pytest
from harness import ROOT, Harness

sys.path.insert(0, str(ROOT / "config/clients"))

PHONE, WABA, TO = "106540352242922", "102290129340398", "15550100123"


@pytest.fixture(scope="module")
def harness():
    with Harness() as harness:
        yield harness


@pytest.fixture(autouse=True)
def clean(harness):
    """Resets the fake Graph before each test, and checks that no token of the library reached it."""
    harness.graph.reset()
    before = len(harness.log())
    yield
    print(harness.log()[before:])  # pytest shows it if the test fails
    harness.assert_only_our_tokens_reached_graph()


@pytest.fixture(params=["a placeholder", "an expired token"])
def client_token(request, harness):
    """The token that the library sends."""
    return "unused" if request.param == "a placeholder" else harness.graph.issue_expired()
