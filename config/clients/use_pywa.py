"""pywa, by way of graphward. It insists on a token, and any word is one."""

import httpx
import pywa
from pywa.types import Pagination


def whatsapp(phone_id, graphward="http://127.0.0.1:8080", token="unused", **more):
    """The shortest way."""
    wa = pywa.WhatsApp(phone_id=phone_id, token=token, **more)
    # Afterwards, because the constructor writes Graph's address over that of a session that it is given.
    session = wa.api._session
    session.base_url = graphward + session.base_url.path  # the path is the version: /v25.0/
    return wa


class ToGraphward(httpx.HTTPTransport):
    """Takes requests to graphward instead. Their Host goes on saying which of Meta's hosts they are for."""

    def __init__(self, graphward):
        super().__init__()
        self.graphward = httpx.URL(graphward)

    def handle_request(self, request):
        to = self.graphward
        request.url = request.url.copy_with(scheme=to.scheme, host=to.host, port=to.port)
        return super().handle_request(request)


def whatsapp_by_transport(phone_id, graphward="http://127.0.0.1:8080", token="unused", **more):
    """The thorough way, which takes the absolute URLs along that Graph answers with: `paging.next` and media."""
    transport = ToGraphward(graphward)
    mounts = {"all://graph.facebook.com": transport, "all://lookaside.fbsbx.com": transport}
    return pywa.WhatsApp(phone_id=phone_id, token=token, session=httpx.Client(mounts=mounts), **more)


def every_template(wa, limit=100, **more):
    """All templates, by the cursor: `next()` of what get_templates gives back raises a TypeError (pywa 4.5.0)."""
    page = wa.get_templates(pagination=Pagination(limit=limit), **more)
    yield from page
    while page.has_next:
        page = wa.get_templates(pagination=Pagination(limit=limit, after=page.after), **more)
        yield from page
