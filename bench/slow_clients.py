#!/usr/bin/env python3
"""Clients that hold a server's connections by being slow: slow_clients.py PORT COUNT SECONDS.

A third drips headers, a third stands still in the middle of a head, a third drips a body. One that is
ended by the server begins again at once. Prints a line when all of them have begun.
"""

import asyncio
import sys

_HEAD = b"GET /darkroom/shop/v2/images/x.jpg HTTP/1.1\r\nHost: slow\r\n"
_POST = (
    b"POST /darkroom/shop/v1/images/presigned-urls HTTP/1.1\r\nHost: slow\r\nX_Owner_Id: slow\r\n"
    b"Content-Length: 8000\r\n\r\n"
)

#: What each kind begins with, and what it drips.
_KINDS = ((_HEAD, b"X-Slow: slow\r\n"), (_HEAD, b""), (_POST, b" "))
_PAUSE = 2


async def _hold(port, kind, begun):
    first, drip = _KINDS[kind]
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.write(first)
        begun()
        while await _is_waiting(reader):
            writer.write(drip)
        writer.transport.abort()


async def _is_waiting(reader):
    """Whether the server has said nothing for a while; whatever it says is the end."""
    try:
        await asyncio.wait_for(reader.read(1), _PAUSE)
    except asyncio.TimeoutError:
        return True
    except OSError:
        pass
    return False


async def main(port, count, seconds):
    left = count

    def begun():
        nonlocal left
        left -= 1
        if left == 0:
            print("begun", flush=True)

    clients = []
    for number in range(count):
        clients.append(asyncio.create_task(_hold(port, number % len(_KINDS), begun)))
        # Spread, so that they do not drip all at once.
        await asyncio.sleep(_PAUSE / count)
    await asyncio.sleep(seconds)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
