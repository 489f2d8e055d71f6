"""Libraries as they are, with graphward as their HTTPS proxy, and its certificate trusted: all by the environment."""

import facebook
import pytest
import pywa
import requests
import use_facebook_business
from conftest import PHONE, TO, WABA
from facebook_business.session import FacebookSession
from house import House
from pywa import types

GRAPH = "https://graph.facebook.com"


@pytest.fixture(scope="module")
def house():
    with House(tls=True) as house:
        yield house


@pytest.fixture(autouse=True)
def environment(house, monkeypatch):
    monkeypatch.setenv("https_proxy", house.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", house.ca)
    monkeypatch.setenv("SSL_CERT_FILE", house.ca)
    # Other files' tests have changed these, which are the libraries' own.
    monkeypatch.setattr(FacebookSession, "GRAPH", GRAPH)
    monkeypatch.setattr(facebook, "FACEBOOK_GRAPH_URL", f"{GRAPH}/")


def test_requests_asks_graph_itself():
    assert requests.get(f"{GRAPH}/v25.0/me").json()["name"] == "Fake Graph System User"


def test_pywa_sends_and_downloads_unchanged(house, presented):
    wa = pywa.WhatsApp(phone_id=PHONE, token=presented)
    wa.send_message(to=TO, text="hello")
    media = wa.upload_media(b"%PDF", mime_type="application/pdf", filename="a.pdf")
    assert wa.get_media_bytes(wa.get_media_url(media.id).url) == b"%PDF"
    assert house.graph.texts() == ["hello"]


def test_pywa_follows_next_to_graph_itself():
    wa = pywa.WhatsApp(phone_id=PHONE, token="unused")
    first = wa.api.get_templates(waba_id=WABA, pagination={"limit": "10"})
    assert len(types.Result(wa=wa, response=first, item_factory=dict).all()) == 57


def test_facebook_sdk_writes_unchanged(house, presented):
    facebook.GraphAPI(presented).put_object(
        PHONE, "messages", messaging_product="whatsapp", to=TO, type="text", text='{"body": "hello"}'
    )
    assert house.graph.texts() == ["hello"]


def test_facebook_business_writes_once_it_trusts_graphward(house, presented):
    api = use_facebook_business.api_by_proxy(house.ca, presented, crash_log=False)
    message = {"messaging_product": "whatsapp", "to": TO, "type": "text", "text": {"body": "hello"}}
    api.call("POST", (PHONE, "messages"), params=message)
    assert house.graph.texts() == ["hello"]


def test_each_text_is_accepted_once_across_an_expiry(house):
    wa = pywa.WhatsApp(phone_id=PHONE, token="unused")

    def send(number):
        wa.send_message(to=TO, text=f"text {number}")
        return f"text {number}"

    sent = house.across_an_expiry(send)
    assert house.graph.texts() == sorted(sent)
    assert house.graph.rejected() > 0


def test_the_proxy_leads_nowhere_else():
    with pytest.raises(requests.exceptions.ProxyError):
        requests.get("https://example.com/")
