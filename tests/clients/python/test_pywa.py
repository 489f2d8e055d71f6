"""pywa."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import use_pywa
from conftest import PHONE, TO, WABA
from house import House, until
from pywa import types
from pywa.types.templates import BodyText, TemplateLanguage


@pytest.fixture(params=[use_pywa.whatsapp, use_pywa.whatsapp_by_transport], ids=["by base URL", "by transport"])
def whatsapp(request, house):
    """Makes the client, by either recipe."""
    return lambda token="unused": request.param(PHONE, house.url, token, waba_id=WABA)


def test_a_text_and_a_template_are_sent_whatever_it_presents(house, whatsapp, presented):
    wa = whatsapp(presented)
    sent = wa.send_message(to=TO, text="hello")
    template = wa.send_template(
        to=TO, name="code", language=TemplateLanguage.ENGLISH_US, params=[BodyText.params("1234")]
    )
    assert [message["id"] for message in house.graph.messages()] == [sent.id, template.id]


def test_a_file_goes_up_comes_down_and_goes_away(house, whatsapp, presented):
    wa = whatsapp(presented)
    media = wa.upload_media(b"%PDF" * 1000, mime_type="application/pdf", filename="a.pdf")
    url = wa.get_media_url(media.id)
    assert url.file_size == 4000
    assert wa.get_media_bytes(url.url) == b"%PDF" * 1000
    assert wa.delete_media(media.id)


def test_all_templates_are_listed(house, whatsapp, presented):
    templates = list(use_pywa.every_template(whatsapp(presented), limit=10))
    assert len({template.id for template in templates}) == len(templates) == 57


def test_each_text_is_accepted_once_across_an_expiry(house, whatsapp):
    wa = whatsapp()

    def send(number):
        wa.send_message(to=TO, text=f"text {number}")
        return f"text {number}"

    sent = house.across_an_expiry(send)
    assert house.graph.texts() == sorted(sent)
    assert house.graph.rejected() > 0


def test_a_file_comes_down_though_the_token_is_replaced_meanwhile(house, whatsapp):
    wa = whatsapp()
    media = wa.upload_media(b"%PDF" * 1000, mime_type="application/pdf", filename="a.pdf")
    url = wa.get_media_url(media.id).url
    house.graph.delay_the_next("500ms")
    before = len(house.graph.calls())
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(wa.get_media_bytes, url)
        until(lambda: len(house.graph.calls()) > before, "the download to begin")
        house.graph.expire(house.tokens[-1])
        house.drop()
        assert coming.result() == b"%PDF" * 1000
    assert [call["status"] for call in house.graph.calls()[before:]] == [404, 200]


def test_the_library_follows_next_by_transport(house):
    assert followed(use_pywa.whatsapp_by_transport(PHONE, house.url)) == 57


def test_the_library_follows_next_by_base_url_if_links_lead_to_graphward():
    with House(config="[links]\npaging = true\n") as house:
        assert followed(use_pywa.whatsapp(PHONE, house.url)) == 57
        house.assert_that_graph_saw_our_tokens_only()


def followed(wa):
    """How many templates there are, read by the library's own way through the pages of other lists."""
    first = wa.api.get_templates(waba_id=WABA, pagination={"limit": "10"})
    return len(types.Result(wa=wa, response=first, item_factory=dict).all())
