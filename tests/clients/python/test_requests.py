"""requests, as most people call Graph."""

import pytest
import requests
import use_requests
from conftest import PHONE, TO, WABA


@pytest.fixture
def graph(house):
    return f"{house.url}/v25.0"


@pytest.fixture(params=["nothing", "a header", "a query"])
def stale(request, house):
    """A stale token, as a call's keyword arguments, in each of the places where people put it."""
    token = house.graph.issue_dead()
    text = {"messaging_product": "whatsapp", "to": TO, "type": "text", "text": {"body": "hello"}}
    return {
        "nothing": {"json": text},
        "a header": {"json": text, "headers": {"Authorization": f"Bearer {token}"}},
        "a query": {"json": text, "params": {"access_token": token}},
    }[request.param]


def test_a_text_is_sent_wherever_a_stale_token_is(house, graph, stale):
    answer = requests.post(f"{graph}/{PHONE}/messages", **stale)
    assert answer.json()["messages"][0]["id"] == house.graph.messages()[0]["id"]
    assert house.graph.texts() == ["hello"]


def test_the_recipe_sends_and_reads_a_list_to_its_end(house, graph):
    use_requests.send_text(PHONE, TO, "hello", graph)
    assert house.graph.texts() == ["hello"]
    templates = list(use_requests.every(f"{WABA}/message_templates", graph, limit=10))
    assert len({template["id"] for template in templates}) == len(templates) == 57


def test_each_text_is_accepted_once_across_an_expiry(house, graph):
    def send(number):
        use_requests.send_text(PHONE, TO, f"text {number}", graph)
        return f"text {number}"

    sent = house.across_an_expiry(send)
    assert house.graph.texts() == sorted(sent)
    assert house.graph.rejected() > 0
