"""facebook-business, by Meta."""

import pytest
import use_facebook_business
from conftest import PHONE, TO, WABA
from facebook_business.adobjects.whatsappbusinessaccount import WhatsAppBusinessAccount


@pytest.fixture
def api(harness, client_token):
    return use_facebook_business.api(harness.url, client_token, api_version="v25.0", crash_log=False)


def send_text(api, text):
    message = {"messaging_product": "whatsapp", "to": TO, "type": "text", "text": {"body": text}}
    return api.call("POST", (PHONE, "messages"), params=message).json()["messages"][0]["id"]


def test_a_text_and_a_template_are_sent_with_any_client_token(harness, api):
    text = send_text(api, "hello")
    template = {"name": "code", "language": {"code": "en_US"}}
    message = {"messaging_product": "whatsapp", "to": TO, "type": "template", "template": template}
    answer = api.call("POST", (PHONE, "messages"), params=message).json()
    assert [message["id"] for message in harness.graph.messages()] == [text, answer["messages"][0]["id"]]


def test_a_file_goes_up_and_comes_down(harness, api):
    about = {"messaging_product": "whatsapp", "type": "text/plain"}
    file = ("a.txt", b"hello\n" * 1000, "text/plain")
    media = api.call("POST", (PHONE, "media"), params=about, files={"file": file}).json()
    url = api.call("GET", (media["id"],)).json()["url"]
    assert api.call("GET", url).body() == "hello\n" * 1000


def test_its_cursor_goes_to_the_end_of_a_list(harness, api):
    templates = list(WhatsAppBusinessAccount(WABA).get_message_templates(params={"limit": 10}))
    assert len({template["id"] for template in templates}) == len(templates) == 57


def test_a_batch_is_run(harness, api):
    answers = []
    batch = api.new_batch()
    text = {"messaging_product": "whatsapp", "to": TO, "type": "text", "text": {"body": "in a batch"}}
    batch.add("GET", ["me"], success=answers.append, failure=answers.append)
    batch.add("POST", [PHONE, "messages"], params=text, success=answers.append, failure=answers.append)
    assert batch.execute() is None
    assert [answer.status() for answer in answers] == [200, 200]
    assert harness.graph.texts() == ["in a batch"]


def test_each_text_is_accepted_once_across_an_expiry(harness):
    api = use_facebook_business.api(harness.url, api_version="v25.0", crash_log=False)

    def send(number):
        send_text(api, f"text {number}")
        return f"text {number}"

    sent = harness.across_an_expiry(send)
    assert harness.graph.texts() == sorted(sent)
    assert harness.graph.rejected() > 0
