#!/usr/bin/env python3
"""Relays connections, and delays each direction: relay.py PORT TO_PORT SECONDS"""
import asyncio
import sys

port, to_port, delay = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])


async def copy(reader, writer):
    loop = asyncio.get_running_loop()
    while data := await reader.read(65536):
        loop.call_later(delay, writer.write, data)
    loop.call_later(delay, writer.close)


async def relay(reader, writer):
    # The handshake of TCP takes a round trip, too.
    await asyncio.sleep(2 * delay)
    to_reader, to_writer = await asyncio.open_connection("127.0.0.1", to_port)
    await asyncio.gather(copy(reader, to_writer), copy(to_reader, writer))


async def main():
    server = await asyncio.start_server(relay, "127.0.0.1", port)
    await server.serve_forever()


asyncio.run(main())
