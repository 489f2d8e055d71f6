"""requests, the way most apps call Graph."""

import json

import pytest
import requests
import use_requests
from conftest import PHONE, TO, WABA


@pytest.fixture
def graph(harness):
    return f"{harness.url}/v25.0"


@pytest.fixture(params=["nothing", "a header", "a query", "a form", "a part", "a member"])
def expired(request, harness):
    """The keyword arguments of a call with an expired token, in each place where apps put it."""
    token = harness.graph.issue_expired()
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


def test_a_text_is_sent_wherever_a_expired_token_is(harness, graph, expired):
    answer = requests.post(f"{graph}/{PHONE}/messages", **expired)
    assert answer.json()["messages"][0]["id"] == harness.graph.messages()[0]["id"]
    assert harness.graph.texts() == ["hello"]


def test_the_recipe_sends_and_reads_a_list_to_its_end(harness, graph):
    use_requests.send_text(PHONE, TO, "hello", graph)
    assert harness.graph.texts() == ["hello"]
    templates = list(use_requests.every(f"{WABA}/message_templates", graph, limit=10))
    assert len({template["id"] for template in templates}) == len(templates) == 57


def test_each_text_is_accepted_once_across_an_expiry(harness, graph):
    def send(number):
        use_requests.send_text(PHONE, TO, f"text {number}", graph)
        return f"text {number}"

    sent = harness.across_an_expiry(send)
    assert harness.graph.texts() == sorted(sent)
    assert harness.graph.rejected() > 0


def test_a_file_goes_up_and_comes_down(harness, graph, client_token):
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {client_token}"
    media = session.post(
        f"{graph}/{PHONE}/media",
        data={"messaging_product": "whatsapp", "type": "image/png"},
        files={"file": ("a.png", b"\x89PNG" * 500_000, "image/png")},
    ).json()
    about = session.get(f"{graph}/{media['id']}").json()
    assert about["file_size"] == 2_000_000
    assert session.get(about["url"]).content == b"\x89PNG" * 500_000


def test_the_items_of_a_batch_lose_their_expired_tokens(harness, graph, client_token):
    text = f'messaging_product=whatsapp&to={TO}&type=text&text={{"body":"in a batch"}}&access_token={client_token}'
    items = [
        {"method": "GET", "relative_url": f"v25.0/me?access_token={client_token}"},
        {"method": "POST", "relative_url": f"v25.0/{PHONE}/messages", "body": text},
    ]
    answer = requests.post(graph, data={"batch": json.dumps(items), "access_token": client_token})
    assert [item["code"] for item in answer.json()] == [200, 200]
    assert harness.graph.texts() == ["in a batch"]
