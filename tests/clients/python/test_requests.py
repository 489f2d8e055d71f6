"""requests, as most people call Graph."""

import json

import pytest
import requests
import use_requests
from conftest import PHONE, TO, WABA


@pytest.fixture
def graph(house):
    return f"{house.url}/v25.0"


@pytest.fixture(params=["nothing", "a header", "a query", "a form", "a part", "a member"])
def stale(request, house):
    """A stale token, as a call's keyword arguments, in each of the places where people put it."""
    token = house.graph.issue_dead()
    text = {"messaging_product": "whatsapp", "to": TO, "type": "text", "text": {"body": "hello"}}
    form = text | {"text": json.dumps(text["text"])}
    return {
        "nothing": {"json": text},
        "a header": {"json": text, "headers": {"Authorization": f"Bearer {token}"}},
        "a query": {"json": text, "params": {"access_token": token}},
        "a form": {"data": form | {"access_token": token}},
        "a part": {"files": {name: (None, value) for name, value in (form | {"access_token": token}).items()}},
        "a member": {"json": text | {"access_token": token}},
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


def test_a_file_goes_up_and_comes_down(house, graph, presented):
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {presented}"
    media = session.post(
        f"{graph}/{PHONE}/media",
        data={"messaging_product": "whatsapp", "type": "image/png"},
        files={"file": ("a.png", b"\x89PNG" * 500_000, "image/png")},
    ).json()
    about = session.get(f"{graph}/{media['id']}").json()
    assert about["file_size"] == 2_000_000
    assert session.get(about["url"]).content == b"\x89PNG" * 500_000


def test_the_items_of_a_batch_lose_their_stale_tokens(house, graph, presented):
    text = f'messaging_product=whatsapp&to={TO}&type=text&text={{"body":"in a batch"}}&access_token={presented}'
    items = [
        {"method": "GET", "relative_url": f"v25.0/me?access_token={presented}"},
        {"method": "POST", "relative_url": f"v25.0/{PHONE}/messages", "body": text},
    ]
    answer = requests.post(graph, data={"batch": json.dumps(items), "access_token": presented})
    assert [item["code"] for item in answer.json()] == [200, 200]
    assert house.graph.texts() == ["in a batch"]
