"""Requests that are sent when they are due, whatever became of those before: more of them than one can
answer shows in what becomes of each, and not in a load that slows down with the program."""

import collections
import gc
import selectors
import socket
import time

from dataclasses import dataclass, field

#: So many connections are open at most. Beyond, a request that is due waits for one.
MOST_CONNECTIONS = 4000
#: After this an answer comes too late for anybody, in seconds.
PATIENCE = 1.0


@dataclass
class Outcome:
    """What became of the requests of one run, by status: from when each was due to its last byte."""

    seconds: float
    took: dict = field(default_factory=lambda: collections.defaultdict(list))
    #: Those without a whole answer when the run was over, or whose connection broke.
    lost: int = 0
    #: How late the requests were sent, in seconds.
    late: list = field(default_factory=list)

    @property
    def good(self):
        """Answers a second that were given in time."""
        return sum(took <= PATIENCE for took in self.took[200]) / self.seconds


class Load:
    def __init__(self, port, requests):
        self.port, self.requests = port, requests
        self.selector = selectors.EpollSelector()
        self.idle, self.open, self.turn = [], 0, 0

    def saturate(self, clients, seconds):
        """As fast as so many clients get answers."""
        outcome = Outcome(seconds)
        begun = time.monotonic()
        for _ in range(clients):
            self._send(begun, outcome)
        while (now := time.monotonic()) < begun + seconds:
            for _ in range(self._receive(0.05, outcome)):
                self._send(time.monotonic(), outcome)
        self._close(outcome)
        return outcome

    def offer(self, rate, seconds):
        """So many a second. Ends when all are answered, or nobody waits for them any more."""
        outcome = Outcome(seconds)
        total, sent = int(rate * seconds), 0
        begun = time.monotonic()
        while (now := time.monotonic()) < begun + seconds + PATIENCE:
            while sent < total and begun + sent / rate <= now:
                if not self.idle and self.open >= MOST_CONNECTIONS:
                    break
                self._send(begun + sent / rate, outcome)
                sent += 1
            if sent == total and len(self.idle) == self.open:
                break
            next_due = begun + sent / rate if sent < total else now + 0.05
            self._receive(max(0.0, next_due - time.monotonic()), outcome)
        outcome.lost += total - sent
        self._close(outcome)
        return outcome

    def _send(self, due, outcome):
        connection = self.idle.pop() if self.idle else self._connect()
        connection.due, connection.received = due, b""
        outcome.late.append(time.monotonic() - due)
        self.turn = (self.turn + 1) % len(self.requests)
        connection.request = self.requests[self.turn]
        if connection.is_connected:
            self._write(connection, outcome)

    def _write(self, connection, outcome):
        try:
            connection.socket.send(connection.request)
        except OSError:
            self._drop(connection, outcome)

    def _connect(self):
        # Waits for nobody: while the program does not accept, the others are due all the same.
        one = socket.socket()
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", self.port))
        connection = _Connection(one)
        self.selector.register(one, selectors.EVENT_WRITE, connection)
        self.open += 1
        return connection

    def _receive(self, patience, outcome):
        """How many answers came."""
        answered = 0
        for key, _ in self.selector.select(patience):
            connection = key.data
            if not connection.is_connected:
                connection.is_connected = True
                self.selector.modify(connection.socket, selectors.EVENT_READ, connection)
                self._write(connection, outcome)
                continue
            try:
                data = connection.socket.recv(65536)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._drop(connection, outcome)
                continue
            connection.received += data
            if connection.is_answered():
                took = time.monotonic() - connection.due
                outcome.took[int(connection.received[9:12])].append(took)
                connection.due = None
                self.idle.append(connection)
                answered += 1
        return answered

    def _drop(self, connection, outcome):
        if connection.due is not None:
            outcome.lost += 1
        elif connection in self.idle:
            self.idle.remove(connection)
        self.selector.unregister(connection.socket)
        connection.socket.close()
        self.open -= 1

    def _close(self, outcome):
        for key in list(self.selector.get_map().values()):
            self._drop(key.data, outcome)
        self.idle.clear()
        gc.collect()


class _Connection:
    def __init__(self, socket):
        self.socket, self.due, self.received = socket, None, b""
        self.request, self.is_connected = b"", False

    def is_answered(self):
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return False
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return len(body) >= int(length)
