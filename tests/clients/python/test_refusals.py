"""Each library turns an error answer into its own exception, with the code of Graph or of graphward."""

import facebook
import pytest
import use_facebook_business
import use_facebook_sdk
import use_pywa
from conftest import PHONE
from facebook_business.exceptions import FacebookRequestError
from pywa.errors import WhatsAppError


def code_by_pywa(harness, headers):
    wa = use_pywa.whatsapp(PHONE, harness.url)
    wa.api._session.headers.update(headers)
    with pytest.raises(WhatsAppError) as error:
        wa.send_message(to="15550100123", text="hello")
    return error.value.code


def code_by_facebook_business(harness, headers):
    api = use_facebook_business.api(harness.url, crash_log=False)
    with pytest.raises(FacebookRequestError) as error:
        api.call("GET", ("me",), headers=headers)
    return error.value.api_error_code()


def code_by_facebook_sdk(harness, headers):
    graph_api = use_facebook_sdk.graph_api(harness.url)
    graph_api.session.headers.update(headers)
    with pytest.raises(facebook.GraphAPIError) as error:
        graph_api.get_object("me")
    return error.value.code


LIBRARIES = [code_by_pywa, code_by_facebook_business, code_by_facebook_sdk]


@pytest.mark.parametrize("code", LIBRARIES, ids=["pywa", "facebook-business", "facebook-sdk"])
def test_the_library_reads_a_refusal_of_graphward(harness, code):
    assert code(harness, headers={"Sec-Fetch-Site": "cross-site"}) == 990008
    assert not harness.graph.calls()


def test_an_expired_token_without_a_replacement_is_an_error_of_graph(harness):
    harness.graph.expire(harness.tokens[-1])
    assert [code(harness, headers={}) for code in LIBRARIES] == [190, 190, 190]
    harness.drop_token()
