"""requests through graphward. Change the base URL; it needs no token and no header."""

import requests


def send_text(phone_id, to, text, graph="http://127.0.0.1:8080/v25.0"):
    message = {"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": text}}
    answer = requests.post(f"{graph}/{phone_id}/messages", json=message, timeout=90)
    answer.raise_for_status()
    return answer.json()["messages"][0]["id"]


def every(path, graph="http://127.0.0.1:8080/v25.0", **params):
    """Returns all items of a list. It follows the cursor, because `paging.next` is a URL of Graph's own host."""
    while True:
        answer = requests.get(f"{graph}/{path}", params=params, timeout=90)
        answer.raise_for_status()
        page = answer.json()
        yield from page["data"]
        if "next" not in page.get("paging", {}):
            return
        params["after"] = page["paging"]["cursors"]["after"]
