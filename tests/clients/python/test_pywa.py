"""pywa."""

import pytest
import use_pywa
from conftest import PHONE, TO, WABA
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


def test_the_library_follows_next_itself(house):
    wa = use_pywa.whatsapp_by_transport(PHONE, house.url)
    first = wa.api.get_templates(waba_id=WABA, pagination={"limit": "10"})
    pages = types.Result(wa=wa, response=first, item_factory=dict)
    assert len(pages.all()) == 57
