#!/usr/bin/env python3
"""Sends requests as apps do: load.py PORT COUNT [--tenants COUNT] [--after-warm-up COMMAND]

32 connections send in lock step, so a run does the same work each time. The requests are those of WhatsApp apps: mostly
messages, with and without escapes, then look-ups and forms. COMMAND runs between a first part that is not counted and the
COUNT requests. With --tenants, each request names one of so many tenants of benches/tenants.py in a header, and messages name
the phone number that belongs to it in their path.
"""
import json
import re
import socket
import subprocess
import sys

CONNECTIONS = 32
PLAIN = "Your appointment is tomorrow at 10:30. Reply 1 to confirm."
ESCAPED = "Your order 42 has shipped.\nGr\u00fc\u00dfe \U0001f69a"
CLIENT = "Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nUser-Agent: python-requests/2.32.3\r\nConnection: keep-alive\r\n"


def post(content_type, body):
    return (f"POST /v23.0/106540352242922/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n{CLIENT}"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()


def message(text):
    return post("application/json", json.dumps({
        "messaging_product": "whatsapp", "recipient_type": "individual", "to": "15550001111", "type": "text",
        "text": {"preview_url": False, "body": text}}))


def get(target):
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{CLIENT}\r\n".encode()


REQUESTS = [message(PLAIN), message(ESCAPED), message(PLAIN), message(ESCAPED), message(PLAIN), message(ESCAPED),
            get("/v23.0/me?fields=id,name"), post("application/x-www-form-urlencoded", "message=hello&published=true")]


def naming(tenant, request):
    number = tenant * 39 + 1
    request = request.replace(b"/106540352242922/", b"/%d/" % (10**14 + number))
    return request.replace(b"\r\n", b"\r\nX-Tenant-Id: t%d\r\n" % number, 1)


def send(connections, count, tenants):
    sent = 0
    while sent < count:
        request = REQUESTS[sent // CONNECTIONS % len(REQUESTS)]
        for number, connection in enumerate(connections, sent):
            connection.sendall(naming(number % tenants, request) if tenants else request)
        for connection in connections:
            read_response(connection)
        sent += len(connections)
    return sent


def read_response(connection):
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, body = received.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 "), head
    length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head).group(1))
    while len(body) < length:
        body += connection.recv(65536)


def main():
    port, count = int(sys.argv[1]), int(sys.argv[2])
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(120)
    tenants = int(sys.argv[sys.argv.index("--tenants") + 1]) if "--tenants" in sys.argv else 0
    send(connections, 8 * CONNECTIONS, tenants)
    if "--after-warm-up" in sys.argv:
        subprocess.run(sys.argv[sys.argv.index("--after-warm-up") + 1:], check=True, stdout=subprocess.DEVNULL)
    print(send(connections, count, tenants))


main()
