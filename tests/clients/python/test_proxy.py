"""Unmodified libraries, with graphward as their HTTPS proxy and its CA trusted, both by environment variables."""

import facebook
import pytest
import pywa
import requests
import use_facebook_business
from conftest import PHONE, TO, WABA
from facebook_business.session import FacebookSession
from harness import Harness
from pywa import types

GRAPH = "https://graph.facebook.com"


@pytest.fixture(scope="module")
def harness():
    with Harness(tls=True) as harness:
        yield harness


@pytest.fixture(autouse=True)
def environment(harness, monkeypatch):
    monkeypatch.setenv("https_proxy", harness.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", harness.ca)
    monkeypatch.setenv("SSL_CERT_FILE", harness.ca)
    # The tests in other files have changed these globals of the libraries.
    monkeypatch.setattr(FacebookSession, "GRAPH", GRAPH)
    monkeypatch.setattr(facebook, "FACEBOOK_GRAPH_URL", f"{GRAPH}/")


def test_requests_asks_graph_itself():
    assert requests.get(f"{GRAPH}/v25.0/me").json()["name"] == "Fake Graph System User"


def test_pywa_sends_and_downloads_unchanged(harness, client_token):
    wa = pywa.WhatsApp(phone_id=PHONE, token=client_token)
    wa.send_message(to=TO, text="hello")
    media = wa.upload_media(b"%PDF", mime_type="application/pdf", filename="a.pdf")
    assert wa.get_media_bytes(wa.get_media_url(media.id).url) == b"%PDF"
    assert harness.graph.texts() == ["hello"]


def test_pywa_follows_next_to_graph_itself():
    wa = pywa.WhatsApp(phone_id=PHONE, token="unused")
    first = wa.api.get_templates(waba_id=WABA, pagination={"limit": "10"})
    assert len(types.Result(wa=wa, response=first, item_factory=dict).all()) == 57


def test_facebook_sdk_writes_unchanged(harness, client_token):
    facebook.GraphAPI(client_token).put_object(
        PHONE, "messages", messaging_product="whatsapp", to=TO, type="text", text='{"body": "hello"}'
    )
    assert harness.graph.texts() == ["hello"]


def test_facebook_business_writes_once_it_trusts_graphward(harness, client_token):
    api = use_facebook_business.api_by_proxy(harness.ca, client_token, crash_log=False)
    message = {"messaging_product": "whatsapp", "to": TO, "type": "text", "text": {"body": "hello"}}
    api.call("POST", (PHONE, "messages"), params=message)
    assert harness.graph.texts() == ["hello"]


def test_each_text_is_accepted_once_across_an_expiry(harness):
    wa = pywa.WhatsApp(phone_id=PHONE, token="unused")

    def send(number):
        wa.send_message(to=TO, text=f"text {number}")
        return f"text {number}"

    sent = harness.across_an_expiry(send)
    assert harness.graph.texts() == sorted(sent)
    assert harness.graph.rejected() > 0


def test_the_proxy_refuses_other_hosts():
    with pytest.raises(requests.exceptions.ProxyError):
        requests.get("https://example.com/")
