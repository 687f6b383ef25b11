"""A CDN that misbehaves: files from a folder, served in the mode that was asked for last.

    faulty_cdn.py FOLDER PORT CONTROL_PORT

`GET /MODE` at the control port changes the mode, and is answered when the change is done:

    well    every request is answered as it should be
    silent  connections that are there answer nothing, and new ones hang in the handshake
    slow    one answer in a hundred comes two seconds late
    broken  every body ends at a random byte: with a FIN, with a RST, or not at all
"""

import asyncio
import hashlib
import random
import signal
import socket
import struct
import sys

from pathlib import Path

SEED = 1
LATE_SHARE, LATE_SECONDS = 0.01, 2.0
#: How a broken body ends, and how often. A stall costs its reader the gateway's StallTimeout.
ENDS, WEIGHTS = ("fin", "rst", "stall"), (45, 45, 10)
#: What an end by RST waits for: bytes that the other side has not taken are lost with it.
BEFORE_RESET = 0.005


class Cdn:
    def __init__(self, folder, port):
        self.folder, self.port = Path(folder), port
        self.objects = {}
        self.mode = "well"
        self.random = random.Random(SEED)
        self.speaks = asyncio.Event()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.listener.setblocking(False)
        self.accepting, self.conversations, self.fillers = None, set(), []

    async def change(self, mode):
        if mode == "silent":
            await self._fall_silent()
        else:
            self._speak()
        self.mode = mode

    def _speak(self):
        self.speaks.set()
        for filler in self.fillers:
            filler.close()
        self.fillers.clear()
        self.listener.listen(1024)
        if not self.accepting:
            self.accepting = asyncio.create_task(self._accept())

    async def _fall_silent(self):
        """Linux drops SYNs when the queue of a listener is full: this fills it."""
        self.speaks.clear()
        if self.accepting:
            self.accepting.cancel()
            await asyncio.wait([self.accepting])
            self.accepting = None
        self.listener.listen(0)
        for _ in range(16):
            filler = socket.socket()
            filler.setblocking(False)
            self.fillers.append(filler)
            connecting = asyncio.get_running_loop().sock_connect(filler, ("127.0.0.1", self.port))
            try:
                await asyncio.wait_for(connecting, 0.2)
            except asyncio.TimeoutError:
                return
        raise RuntimeError("the accept queue does not fill up")

    async def _accept(self):
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self.listener)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.create_task(self._serve(connection))
            self.conversations.add(task)
            task.add_done_callback(self.conversations.discard)

    async def _serve(self, connection):
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection)
        transport.set_write_buffer_limits(0)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            while await self._answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            transport.abort()

    async def _answer(self, reader, writer):
        """Answers one request; says whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        await self.speaks.wait()
        found = self._object(head.split(b" ", 2)[1].decode())
        if not found:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        body, etag = found
        if self.mode == "slow" and self.random.random() < LATE_SHARE:
            await asyncio.sleep(LATE_SECONDS)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: %d\r\nETag: %s\r\n\r\n" % (len(body), etag)
        )
        if self.mode != "broken":
            writer.write(body)
            await writer.drain()
            return True
        end = self.random.choices(ENDS, WEIGHTS)[0]
        writer.write(body[: self.random.randrange(len(body))])
        await writer.drain()
        if end == "rst":
            await asyncio.sleep(BEFORE_RESET)
            connection = writer.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif end == "stall":
            await reader.read()
        return False

    def _object(self, path):
        if path not in self.objects:
            file = self.folder / path.lstrip("/")
            if not file.is_file():
                return None
            body = file.read_bytes()
            # The tag that storage gives the same bytes.
            self.objects[path] = body, b'"%s"' % hashlib.md5(body).hexdigest().encode()
        return self.objects[path]


async def control(cdn, reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    await cdn.change(head.split(b" ", 2)[1].decode().lstrip("/"))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def main(folder, port, control_port):
    cdn = Cdn(folder, int(port))
    await cdn.change("well")
    await asyncio.start_server(
        lambda reader, writer: control(cdn, reader, writer), "127.0.0.1", int(control_port)
    )
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
