"""What all the libraries' tests have in common."""

import sys

import pytest
from house import ROOT, House

sys.path.insert(0, str(ROOT / "config/clients"))

PHONE, WABA, TO = "106540352242922", "102290129340398", "15550100123"


@pytest.fixture(scope="module")
def house():
    with House() as house:
        yield house


@pytest.fixture(autouse=True)
def clean(house):
    """Each test begins with nothing said and done, and none lets a token of the library's reach Graph."""
    house.graph.reset()
    before = len(house.log())
    yield
    print(house.log()[before:])  # is shown if the test fails
    house.assert_that_graph_saw_our_tokens_only()


@pytest.fixture(params=["a placeholder", "a stale token"])
def presented(request, house):
    """What the library sends as its token."""
    return "unused" if request.param == "a placeholder" else house.graph.issue_dead()
