"""facebook-business, by way of graphward."""

from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession


def api(graphward="http://127.0.0.1:8080", token="unused", **more):
    # The class, not an instance: the Conversions API and the catalog's helpers read it from there.
    FacebookSession.GRAPH = graphward
    # With an app_secret the library computes a proof from what it takes for the token; graphward replaces it.
    return FacebookAdsApi.init(access_token=token, **more)


def api_by_proxy(ca, token="unused", **more):
    """With `https_proxy=http://127.0.0.1:8080`: only whom it trusts has to change, in spite of the environment."""
    api = FacebookAdsApi.init(access_token=token, **more)
    api._session.requests.verify = ca
    return api
