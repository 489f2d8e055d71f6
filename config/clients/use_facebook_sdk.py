"""facebook-sdk through graphward. It sends its token in queries and forms, and requires one for writes."""

import facebook


def graph_api(graphward="http://127.0.0.1:8080", token="unused", version="v25.0", **more):
    facebook.FACEBOOK_GRAPH_URL = graphward + "/"  # with a slash at the end
    graph = facebook.GraphAPI(access_token=token, **more)
    graph.version = version  # its constructor knows versions up to 3.1 only
    return graph


def every_connection(graph, id, name, **args):
    """Replaces `get_all_connections`, which raises a KeyError because it expects a token in `paging.next`."""
    while True:
        page = graph.get_connections(id, name, **args)
        yield from page["data"]
        if "next" not in page.get("paging", {}):
            return
        args["after"] = page["paging"]["cursors"]["after"]


def download(graph, media_id):
    """Returns the bytes of a file. For a picture, `graph.request` returns them as `data`."""
    url = graph.get_object(media_id)["url"]
    answer = graph.session.get(url, timeout=90)
    answer.raise_for_status()
    return answer.content
