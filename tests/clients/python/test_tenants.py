"""Several tenants in one graphward. Each client of a library names its tenant in the place of its token, and nowhere else.

The fake Graph knows which token may act on which objects, and reports each call with a token that may not.
"""

import json
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import pywa
import pywa.errors
import requests
import use_facebook_business
import use_pywa
from conftest import TO
from facebook_business.adobjects.whatsappbusinessaccount import WhatsAppBusinessAccount
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession
from harness import ROOT, TIMEOUT, Harness, Tenant, wait_until

# The phone number and the business account of each tenant. Those of axios are the ones in tests/clients/node/calls.mjs.
OBJECTS = {
    "pywa_one": ("101", "1010"),
    "pywa_two": ("201", "2010"),
    "business_one": ("301", "3010"),
    "business_two": ("401", "4010"),
    "axios": ("106540352242922", "102290129340398"),
    "php": ("501", "5010"),
}
# The media host does not say that a token is dead, so a download is healed only if there is a newer one already.
DOWNLOADS_MEDIA = {"pywa_one", "pywa_two", "axios"}
APP = "1234567890123456"
CLIENTS = ROOT / "tests/clients"


@pytest.fixture(scope="module")
def harness():
    """A graphward with all tenants. It knows no id of theirs: only what a client sends as its token names its tenant."""
    tenants = {name: Tenant(targets=(*objects, APP)) for name, objects in OBJECTS.items()}
    with Harness(config="[links]\npaging = true\n", tls=True, tenants=tenants) as harness:
        yield harness


@pytest.fixture(autouse=True)
def no_violation(harness):
    yield
    assert harness.graph.objects()["violations"] == []


def slot(name):
    return f"tenant:{name}"


def text(body):
    return {"messaging_product": "whatsapp", "to": TO, "type": "text", "text": {"body": body}}


def body_of(params):
    """The body of a text that was accepted, or the name of a template."""
    return params.get("text", {}).get("body") or params["template"]["name"]


def pywa_client(harness, name):
    phone, waba = OBJECTS[name]
    return use_pywa.whatsapp(phone, harness.url, slot(name), waba_id=waba)


def business_api(name, ca=None):
    """A session of its own: `FacebookAdsApi.init` would share one among all."""
    session = FacebookSession(access_token=slot(name))
    if ca:
        session.requests.verify = ca
    return FacebookAdsApi(session, api_version="v25.0")


def use_pywa_client(wa, body):
    """Makes the usual calls once; returns the texts that it has sent."""
    wa.send_message(to=TO, text=body)
    media = wa.upload_media(b"%PDF" * 100, mime_type="application/pdf", filename="a.pdf")
    assert wa.get_media_bytes(wa.get_media_url(media.id).url) == b"%PDF" * 100
    assert len({template.id for template in use_pywa.every_template(wa, limit=20)}) == 57
    return [body]


def use_business_api(api, name, body):
    phone, waba = OBJECTS[name]
    api.call("POST", (phone, "messages"), params=text(body))
    batch, answers = api.new_batch(), []
    batch.add("GET", ["me"], params={"fields": "name"}, success=answers.append, failure=answers.append)
    batch.add("POST", [phone, "messages"], params=text(f"{body}, in a batch"), success=answers.append)
    assert batch.execute() is None
    assert answers[0].json()["name"] == name
    assert len(list(WhatsAppBusinessAccount(waba, api=api).get_message_templates(params={"limit": 20}))) == 57
    return [body, f"{body}, in a batch"]


def use_axios(*address, flags=()):
    command = ["node", *flags, "app.mjs", "axios", slot("axios"), *address]
    return json.loads(run(command, CLIENTS / "node"))


def use_php(address, body, flags=()):
    phone, _ = OBJECTS["php"]
    url = f"{address}/v25.0/{phone}/messages"
    form = f"access_token={slot('php')}&messaging_product=whatsapp&to={TO}&type=text&text=" + json.dumps({"body": body})
    php = ["php", *flags, "graph.php"]
    assert run([*php, "POST", url, form], CLIENTS / "php").startswith("200 identity ")
    me = run([*php, "GET", f"{address}/v25.0/me?access_token={slot('php')}"], CLIENTS / "php")
    assert me.startswith("200 identity ") and '"name":"php"' in me, me
    return [body]


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=2 * TIMEOUT, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_six_clients_of_four_libraries_get_their_own_tokens_while_all_tokens_are_replaced(harness, monkeypatch):
    monkeypatch.setattr(FacebookSession, "GRAPH", harness.url)
    clients = {name: pywa_client(harness, name) for name in ("pywa_one", "pywa_two")}
    apis = {name: business_api(name) for name in ("business_one", "business_two")}
    calls = {
        **{name: lambda body, wa=wa: use_pywa_client(wa, body) for name, wa in clients.items()},
        **{name: lambda body, name=name, api=api: use_business_api(api, name, body) for name, api in apis.items()},
        "axios": lambda _: use_axios(harness.url),
        "php": lambda body: use_php(harness.url, body),
    }
    rounds, swapped = dict.fromkeys(calls, 0), threading.Event()

    def use(name):
        """Makes calls until all tokens have been replaced, and once more then."""
        sent, last = [], False
        while not last:
            last = swapped.is_set()
            sent += calls[name](f"{name} {rounds[name]}")
            rounds[name] += 1
        return sent

    with ThreadPoolExecutor(len(calls)) as pool:
        users = {name: pool.submit(use, name) for name in calls}
        try:
            for _ in range(2):
                for name in OBJECTS:
                    before, in_use = rounds[name], harness.tokens_used()
                    old = (harness.folder / name).read_text()
                    harness.drop_token(name)
                    if name in DOWNLOADS_MEDIA:
                        wait_until(lambda: harness.tokens_used() > in_use, "the new token to be in use")
                    harness.graph.expire(old)
                    wait_until(lambda: rounds[name] > before or users[name].done(), f"a call of {name}")
        finally:
            swapped.set()
        sent = {name: user.result() for name, user in users.items()}

    phones = {phone: name for name, (phone, _) in OBJECTS.items()}
    accepted = {name: [] for name in calls}
    for message in harness.graph.messages():
        accepted[phones[message["phone_id"]]].append(body_of(message["params"]))
    assert {name: sorted(texts) for name, texts in accepted.items()} == {
        name: sorted(texts) for name, texts in sent.items()
    }
    used = {(use["token"], use["object"]) for use in harness.graph.objects()["data"]}
    for name, objects in OBJECTS.items():
        assert (name, objects[0]) in used
        assert {token for token, known in used if known in objects} == {name}


def test_media_are_looked_up_by_the_header_and_downloaded_by_nothing_but_the_url(harness):
    media = pywa_client(harness, "pywa_one").upload_media(b"%PDF", mime_type="application/pdf", filename="a.pdf").id
    looked_up = requests.get(f"{harness.url}/v25.0/{media}", headers={"X-Tenant-Id": "pywa_one"})
    url = looked_up.json()["url"]
    assert url.startswith(f"{harness.url}/-/pywa_one/whatsapp_business/attachments/")
    assert requests.get(url).content == b"%PDF"
    unnamed = requests.get(f"{harness.url}/v25.0/{media}")
    assert (unnamed.status_code, unnamed.json()["error"]["code"]) == (400, 990024)


@pytest.mark.parametrize("sign", ["slot", "header"])
def test_paging_links_are_followed_with_nothing(harness, sign):
    _, waba = OBJECTS["php"]
    url = f"{harness.url}/v25.0/{waba}/message_templates?limit=20"
    if sign == "slot":
        page = requests.get(url, params={"access_token": slot("php")}).json()
    else:
        page = requests.get(url, headers={"X-Tenant-Id": "php"}).json()
    names = []
    while True:
        names += [template["name"] for template in page["data"]]
        if "next" not in page["paging"]:
            break
        assert "access_token" not in page["paging"]["next"]
        page = requests.get(page["paging"]["next"]).json()
    assert len(set(names)) == len(names) == 57


def test_an_upload_session_goes_on_with_its_tenants_token(harness):
    wa = pywa_client(harness, "pywa_two")
    session = wa.api.create_upload_session(APP, file_name="a.jpg", file_length=6, file_type="image/jpeg")["id"]
    part = {"file_offset": "0", "Content-Type": "image/jpeg"}
    answer = requests.post(f"{harness.url}/v25.0/{session}", data=b"abc", headers=part).json()
    assert answer == {"id": session, "file_offset": 3}
    assert wa.api.get_upload_session(session)["file_offset"] == 3
    assert wa.api.upload_file(session, b"def", file_offset=3)["h"].startswith("4::")


def test_unmodified_libraries_name_their_tenants_through_the_proxy(harness, monkeypatch):
    monkeypatch.setenv("https_proxy", harness.url)
    monkeypatch.setenv("SSL_CERT_FILE", harness.ca)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", harness.ca)
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", harness.ca)
    monkeypatch.setattr(FacebookSession, "GRAPH", "https://graph.facebook.com")
    sent = []
    for name in ("pywa_one", "pywa_two"):
        phone, waba = OBJECTS[name]
        sent += use_pywa_client(pywa.WhatsApp(phone_id=phone, token=slot(name), waba_id=waba), f"{name}, by proxy")
    for name in ("business_one", "business_two"):
        sent += use_business_api(business_api(name, harness.ca), name, f"{name}, by proxy")
    sent += use_axios(flags=["--import", "./through-proxy.mjs"])
    sent += use_php("https://graph.facebook.com", "php, by proxy", ["-d", f"curl.cainfo={harness.ca}"])
    params = [message["params"] for message in harness.graph.messages()]
    assert sorted(body_of(message) for message in params) == sorted(sent)


def test_a_client_of_one_tenant_with_the_number_of_another_is_refused_before_graph_sees_it():
    tenants = {name: Tenant(targets=OBJECTS[name], ids=OBJECTS[name]) for name in ("pywa_one", "pywa_two")}
    with Harness(tenants=tenants) as harness:
        phone, _ = OBJECTS["pywa_two"]
        mixed_up = use_pywa.whatsapp(phone, harness.url, slot("pywa_one"))
        with pytest.raises(pywa.errors.WhatsAppError) as refused:
            mixed_up.send_message(to=TO, text="for another business")
        assert refused.value.code == 990027
        with pytest.raises(pywa.errors.WhatsAppError) as refused:
            use_pywa.whatsapp(phone, harness.url, slot("pywa_three")).send_message(to=TO, text="a typing error")
        assert refused.value.code == 990025
        assert harness.graph.calls() == []
        assert harness.graph.objects()["data"] == []
