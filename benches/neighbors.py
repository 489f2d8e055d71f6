#!/usr/bin/env python3
"""What a neighbor of benches/isolation does on core 1:
neighbors.py service PORT | neighbors.py ask PORT COUNT | neighbors.py upload PORT TENANT COUNT

`service` is the credential service of the tenants: it answers at once for `well`, and with a dead token for those whose name begins
with `dead`; it fails after a second for every other one. `ask` sends a request for each of COUNT such tenants at the same time, and
waits for all answers.
`upload` sends COUNT multipart forms with a file of 64 MiB at the same time, 16 KiB of each every 50 ms, until it is interrupted;
then it prints how many pieces it sent in a second.
"""
import asyncio
import os
import signal
import sys
import time

PIECE = bytes(16 * 1024)
PIECES = 4096
TOKEN, DEAD_TOKEN = os.environ.get("TOKEN", ""), os.environ.get("DEAD_TOKEN", "")


async def answer(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    tenant = head.split(b" ")[1].decode().removeprefix("/")
    status, body = "200 OK", f'{{"access_token": "{TOKEN}"}}'
    if tenant.startswith("dead"):
        body = f'{{"access_token": "{DEAD_TOKEN}{tenant}"}}'
    elif tenant != "well":
        await asyncio.sleep(1)
        status, body = "500 Out Of Order", "{}"
    writer.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
    await writer.drain()
    writer.close()


async def serve(port):
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    await server.serve_forever()


async def ask(port, tenant):
    status = b" 503 "
    # So many names are not looked up at the same time.
    while b" 503 " in status:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /v23.0/me HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Tenant-Id: {tenant}\r\nConnection: close\r\n\r\n".encode())
        status = await reader.readline()
        await reader.read()
        writer.close()
        await asyncio.sleep(0.1)
    assert b" 401 " in status, (tenant, status)


async def ask_all(port, count):
    await asyncio.gather(*(ask(port, f"dead{number}") for number in range(count)))


async def upload(port, tenant, sent):
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="v.mp4"\r\nContent-Type: video/mp4\r\n\r\n'
    length = len(form) + PIECES * len(PIECE) + len(b"\r\n--b--\r\n")
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST /v23.0/1/media HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Tenant-Id: {tenant}\r\n"
                     f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n".encode() + form)
        try:
            for _ in range(PIECES):
                writer.write(PIECE)
                await writer.drain()
                sent.append(len(PIECE))
                await asyncio.sleep(0.05)
            writer.write(b"\r\n--b--\r\n")
            await reader.readline()
        except ConnectionError:
            # It was answered before its end.
            await asyncio.sleep(0.05)
        writer.close()


async def upload_all(port, tenant, count):
    sent, began = [], time.monotonic()
    uploads = [asyncio.create_task(upload(port, tenant, sent)) for _ in range(count)]
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    await interrupted.wait()
    for task in uploads:
        task.cancel()
    print(f"Requests/sec: {len(sent) / (time.monotonic() - began):.0f}")


if sys.argv[1] == "service":
    asyncio.run(serve(int(sys.argv[2])))
elif sys.argv[1] == "ask":
    asyncio.run(ask_all(int(sys.argv[2]), int(sys.argv[3])))
else:
    asyncio.run(upload_all(int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
