"""pywa through graphward. It requires a token, and accepts any placeholder."""

import httpx
import pywa
from pywa.types import Pagination


def whatsapp(phone_id, graphward="http://127.0.0.1:8080", token="unused", **more):
    """The shortest way."""
    wa = pywa.WhatsApp(phone_id=phone_id, token=token, **more)
    # Set it after the constructor, which writes Graph's address into the session that it gets.
    session = wa.api._session
    session.base_url = graphward + session.base_url.path  # the path is the version: /v25.0/
    return wa


class ToGraphward(httpx.HTTPTransport):
    """Sends requests to graphward. Their Host header still names the host of Meta that they are for."""

    def __init__(self, graphward):
        super().__init__()
        self.graphward = httpx.URL(graphward)

    def handle_request(self, request):
        to = self.graphward
        request.url = request.url.copy_with(scheme=to.scheme, host=to.host, port=to.port)
        return super().handle_request(request)


def whatsapp_by_transport(phone_id, graphward="http://127.0.0.1:8080", token="unused", **more):
    """Also handles the absolute URLs in Graph's answers: `paging.next` and media."""
    transport = ToGraphward(graphward)
    mounts = {"all://graph.facebook.com": transport, "all://lookaside.fbsbx.com": transport}
    return pywa.WhatsApp(phone_id=phone_id, token=token, session=httpx.Client(mounts=mounts), **more)


def every_template(wa, limit=100, **more):
    """Lists all templates by the cursor: `next()` of the result of get_templates raises a TypeError (pywa 4.5.0)."""
    page = wa.get_templates(pagination=Pagination(limit=limit), **more)
    yield from page
    while page.has_next:
        page = wa.get_templates(pagination=Pagination(limit=limit, after=page.after), **more)
        yield from page
