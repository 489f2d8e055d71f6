"""facebook-sdk, by way of graphward. It sends its token in queries and forms, and insists on one for writing."""

import facebook


def graph_api(graphward="http://127.0.0.1:8080", token="unused", version="v25.0", **more):
    facebook.FACEBOOK_GRAPH_URL = graphward + "/"  # the slash belongs to it
    graph = facebook.GraphAPI(access_token=token, **more)
    graph.version = version  # its constructor knows versions up to 3.1 only
    return graph


def every_connection(graph, id, name, **args):
    """Instead of `get_all_connections`, which raises a KeyError: it expects a token in `paging.next`."""
    while True:
        page = graph.get_connections(id, name, **args)
        yield from page["data"]
        if "next" not in page.get("paging", {}):
            return
        args["after"] = page["paging"]["cursors"]["after"]


def download(graph, media_id):
    """A file's bytes; of a picture, `graph.request` gives them as `data`."""
    url = graph.get_object(media_id)["url"]
    answer = graph.session.get(url, timeout=90)
    answer.raise_for_status()
    return answer.content
