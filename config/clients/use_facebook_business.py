"""facebook-business through graphward."""

from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession


def api(graphward="http://127.0.0.1:8080", token="unused", **more):
    # Of the class, not of an instance: the Conversions API and the catalog helpers read it there.
    FacebookSession.GRAPH = graphward
    # With an app_secret, the library computes a proof from the placeholder; graphward replaces it.
    return FacebookAdsApi.init(access_token=token, **more)


def api_by_proxy(ca, token="unused", **more):
    """Use with `https_proxy=http://127.0.0.1:8080`. The library ignores CA variables, so set the CA here."""
    api = FacebookAdsApi.init(access_token=token, **more)
    api._session.requests.verify = ca
    return api
