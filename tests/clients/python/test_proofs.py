"""All libraries, where Graph requires an `appsecret_proof` with each call."""

import json

import pytest
import requests
import use_facebook_business
import use_facebook_sdk
import use_pywa
import use_requests
from conftest import PHONE, TO, WABA
from harness import APP_SECRET, Harness


@pytest.fixture(scope="module")
def harness():
    with Harness(config='[app]\nsecret = { file = "FOLDER/app_secret" }\n', fake_graph=["--proof=required"]) as harness:
        yield harness


@pytest.fixture(autouse=True)
def proven(clean, harness):
    """Checks that every call had the right proof, except downloads, which take none."""
    yield
    calls = [call for call in harness.graph.calls() if call["host"] == "graph.facebook.com"]
    assert calls and {call["proof"] for call in calls} == {"right"}
    assert all(item["proof"] in ("right", "absent") for call in calls for item in call["items"])


def message(text):
    return {"messaging_product": "whatsapp", "to": TO, "type": "text", "text": {"body": text}}


def test_libraries_that_know_no_proofs_need_none(harness):
    use_requests.send_text(PHONE, TO, "of requests", f"{harness.url}/v25.0")
    use_pywa.whatsapp(PHONE, harness.url).send_message(to=TO, text="of pywa")
    graph_api = use_facebook_sdk.graph_api(harness.url)
    graph_api.put_object(PHONE, "messages", **message("") | {"text": json.dumps({"body": "of facebook-sdk"})})
    assert harness.graph.texts() == ["of facebook-sdk", "of pywa", "of requests"]


def test_a_proof_that_a_library_makes_of_its_placeholder_is_replaced(harness, client_token):
    api = use_facebook_business.api(harness.url, client_token, app_secret=APP_SECRET, crash_log=False)
    api.call("POST", (PHONE, "messages"), params=message("hello"))
    templates = api.call("GET", (WABA, "message_templates"), params={"limit": 100}).json()["data"]
    assert (harness.graph.texts(), len(templates)) == (["hello"], 57)


def test_a_batch_has_its_proof(harness, client_token):
    api = use_facebook_business.api(harness.url, client_token, app_secret=APP_SECRET, crash_log=False)
    batch, answers = api.new_batch(), []
    batch.add("POST", [PHONE, "messages"], params=message("in a batch"), success=answers.append)
    batch.add("GET", ["me"], params={"access_token": client_token, "appsecret_proof": "00"}, success=answers.append)
    batch.execute()
    assert len(answers) == 2
    assert harness.graph.texts() == ["in a batch"]


def test_a_file_goes_up_and_comes_down(harness):
    about = {"messaging_product": "whatsapp", "type": "text/plain"}
    graph, file = f"{harness.url}/v25.0", ("a.txt", b"hello", "text/plain")
    media = requests.post(f"{graph}/{PHONE}/media", data=about, files={"file": file}).json()
    url = requests.get(f"{graph}/{media['id']}").json()["url"]
    assert requests.get(url).content == b"hello"


def test_the_proof_changes_with_the_token(harness):
    api = use_facebook_business.api(harness.url, app_secret=APP_SECRET, crash_log=False)

    def send(number):
        api.call("POST", (PHONE, "messages"), params=message(f"text {number}"))
        return f"text {number}"

    sent = harness.across_an_expiry(send)
    assert harness.graph.texts() == sorted(sent)
    assert harness.graph.rejected() > 0
