"""pywa."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import use_pywa
from conftest import PHONE, TO, WABA
from harness import Harness, wait_until
from pywa import types
from pywa.types.templates import BodyText, TemplateLanguage


@pytest.fixture(params=[use_pywa.whatsapp, use_pywa.whatsapp_by_transport], ids=["by base URL", "by transport"])
def whatsapp(request, harness):
    """Makes the client by either recipe."""
    return lambda token="unused": request.param(PHONE, harness.url, token, waba_id=WABA)


def test_a_text_and_a_template_are_sent_with_any_client_token(harness, whatsapp, client_token):
    wa = whatsapp(client_token)
    sent = wa.send_message(to=TO, text="hello")
    template = wa.send_template(
        to=TO, name="code", language=TemplateLanguage.ENGLISH_US, params=[BodyText.params("1234")]
    )
    assert [message["id"] for message in harness.graph.messages()] == [sent.id, template.id]


def test_a_file_goes_up_comes_down_and_goes_away(harness, whatsapp, client_token):
    wa = whatsapp(client_token)
    media = wa.upload_media(b"%PDF" * 1000, mime_type="application/pdf", filename="a.pdf")
    url = wa.get_media_url(media.id)
    assert url.file_size == 4000
    assert wa.get_media_bytes(url.url) == b"%PDF" * 1000
    assert wa.delete_media(media.id)


def test_all_templates_are_listed(harness, whatsapp, client_token):
    templates = list(use_pywa.every_template(whatsapp(client_token), limit=10))
    assert len({template.id for template in templates}) == len(templates) == 57


def test_each_text_is_accepted_once_across_an_expiry(harness, whatsapp):
    wa = whatsapp()

    def send(number):
        wa.send_message(to=TO, text=f"text {number}")
        return f"text {number}"

    sent = harness.across_an_expiry(send)
    assert harness.graph.texts() == sorted(sent)
    assert harness.graph.rejected() > 0


def test_a_file_comes_down_though_the_token_is_replaced_meanwhile(harness, whatsapp):
    wa = whatsapp()
    media = wa.upload_media(b"%PDF" * 1000, mime_type="application/pdf", filename="a.pdf")
    url = wa.get_media_url(media.id).url
    harness.graph.delay_next_call("500ms")
    before = len(harness.graph.calls())
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(wa.get_media_bytes, url)
        wait_until(lambda: len(harness.graph.calls()) > before, "the download to begin")
        harness.graph.expire(harness.tokens[-1])
        harness.drop_token()
        assert coming.result() == b"%PDF" * 1000
    assert [call["status"] for call in harness.graph.calls()[before:]] == [404, 200]


def test_the_library_follows_next_by_transport(harness):
    assert followed(use_pywa.whatsapp_by_transport(PHONE, harness.url)) == 57


def test_the_library_follows_next_by_base_url_if_links_lead_to_graphward():
    with Harness(config="[links]\npaging = true\n") as harness:
        assert followed(use_pywa.whatsapp(PHONE, harness.url)) == 57
        harness.assert_only_our_tokens_reached_graph()


def followed(wa):
    """Counts the templates as the library itself follows the pages of other lists."""
    first = wa.api.get_templates(waba_id=WABA, pagination={"limit": "10"})
    return len(types.Result(wa=wa, response=first, item_factory=dict).all())
