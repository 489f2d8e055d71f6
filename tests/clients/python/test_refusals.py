"""What a library makes of an answer that is not a success: an error of its own, with Graph's code or graphward's."""

import facebook
import pytest
import use_facebook_business
import use_facebook_sdk
import use_pywa
from conftest import PHONE
from facebook_business.exceptions import FacebookRequestError
from pywa.errors import WhatsAppError


def code_by_pywa(house, headers):
    wa = use_pywa.whatsapp(PHONE, house.url)
    wa.api._session.headers.update(headers)
    with pytest.raises(WhatsAppError) as error:
        wa.send_message(to="15550100123", text="hello")
    return error.value.code


def code_by_facebook_business(house, headers):
    api = use_facebook_business.api(house.url, crash_log=False)
    with pytest.raises(FacebookRequestError) as error:
        api.call("GET", ("me",), headers=headers)
    return error.value.api_error_code()


def code_by_facebook_sdk(house, headers):
    graph_api = use_facebook_sdk.graph_api(house.url)
    graph_api.session.headers.update(headers)
    with pytest.raises(facebook.GraphAPIError) as error:
        graph_api.get_object("me")
    return error.value.code


LIBRARIES = [code_by_pywa, code_by_facebook_business, code_by_facebook_sdk]


@pytest.mark.parametrize("code", LIBRARIES, ids=["pywa", "facebook-business", "facebook-sdk"])
def test_a_refusal_of_graphwards_is_understood(house, code):
    assert code(house, headers={"Sec-Fetch-Site": "cross-site"}) == 990008
    assert not house.graph.calls()


def test_a_dead_token_that_nobody_replaces_is_graphs_error(house):
    house.graph.expire(house.tokens[-1])
    assert [code(house, headers={}) for code in LIBRARIES] == [190, 190, 190]
    house.drop()
