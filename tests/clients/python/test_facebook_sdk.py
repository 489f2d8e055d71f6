"""facebook-sdk, by Mobolic."""

import json

import facebook
import pytest
import use_facebook_sdk
from conftest import PHONE, TO, WABA


@pytest.fixture
def graph_api(harness, client_token):
    return use_facebook_sdk.graph_api(harness.url, client_token)


def send_text(graph_api, text):
    return graph_api.put_object(
        PHONE, "messages", messaging_product="whatsapp", to=TO, type="text", text=json.dumps({"body": text})
    )


def test_a_text_and_a_template_are_sent_with_any_client_token(harness, graph_api):
    text = send_text(graph_api, "hello")
    code = json.dumps({"name": "code", "language": {"code": "en_US"}})
    template = graph_api.put_object(
        PHONE, "messages", messaging_product="whatsapp", to=TO, type="template", template=code
    )
    ids = [answer["messages"][0]["id"] for answer in (text, template)]
    assert [message["id"] for message in harness.graph.messages()] == ids


def test_a_file_goes_up_and_comes_down(harness, graph_api):
    media = graph_api.put_photo(
        ("a.png", b"\x89PNG" * 1000, "image/png"), f"{PHONE}/media", messaging_product="whatsapp", type="image/png"
    )
    assert use_facebook_sdk.download(graph_api, media["id"]) == b"\x89PNG" * 1000


def test_the_recipe_reads_a_list_to_its_end(harness, graph_api):
    templates = list(use_facebook_sdk.every_connection(graph_api, WABA, "message_templates", limit=10))
    assert len({template["id"] for template in templates}) == len(templates) == 57


def test_its_own_way_to_the_end_of_a_list_needs_the_recipe(graph_api):
    with pytest.raises(KeyError, match="access_token"):
        list(graph_api.get_all_connections(WABA, "message_templates", limit=10))


def test_a_batch_is_run(harness, graph_api):
    items = [{"method": "GET", "relative_url": "v25.0/me"}, {"method": "GET", "relative_url": f"v25.0/{PHONE}"}]
    answers = graph_api.request("", post_args={"batch": json.dumps(items)})
    assert [answer["code"] for answer in answers] == [200, 200]


def test_an_error_of_graph_raises_the_error_of_the_library(graph_api):
    with pytest.raises(facebook.GraphAPIError) as error:
        graph_api.put_object(PHONE, "messages", messaging_product="whatsapp")
    assert error.value.code == 100


def test_each_text_is_accepted_once_across_an_expiry(harness):
    graph_api = use_facebook_sdk.graph_api(harness.url)

    def send(number):
        send_text(graph_api, f"text {number}")
        return f"text {number}"

    sent = harness.across_an_expiry(send)
    assert harness.graph.texts() == sorted(sent)
    assert harness.graph.rejected() > 0
