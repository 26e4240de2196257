"""An SMTP receiver that keeps a ledger and misbehaves by lot: a process of its own, and quick.

Each mail is in the ledger, a file opened with O_APPEND, before it is answered. What goes wrong is
drawn from (seed, stage, recipient, how often), so that the same seed draws the same faults for the
same mail, whatever order the mails come in.

What can be said at a stage, in place of yes:

    "451 4.7.1 later"   that reply, whatever it is; "\\r\\n" in it makes it two (desynchronised)
    "drop"              hang up without a word; at the dot: without having taken the mail
    "take-drop"         at the dot: take the mail and hang up
    "garbage"           say what is no reply; at the dot: the mail was taken
    "slow"              a yes, later
    "split"             a yes, in two pieces
    "inside"            at the dot: hang up as if only a part of it had come; not taken
    "hang-up"           at "offered": hang up when the mail's last line is there and the dot is not

Run as a program it says its port, and then obeys words on its standard input:

    quiet               answers "quiet" once nobody is connected any more
    faults {...}        other faults from now on: {stage: [[what to say, probability], ...]}
    delay SECONDS       each dot is answered after up to so many seconds
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import json
import os
import random
import re
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

Faults = dict[str, list[tuple[str, float]]]

_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(rb"<([^<>\s]*)>")
_HELLO = b"250-sink\r\n250-PIPELINING\r\n250-SIZE 20000000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
_YES = {
    "connect": b"220 sink ESMTP\r\n",
    "ehlo": _HELLO,
    "mail": b"250 2.1.0 ok\r\n",
    "rcpt": b"250 2.1.5 ok\r\n",
    "data": b"354 go on\r\n",
    "dot": b"250 2.0.0 taken\r\n",
}
# The last line of a multipart mail: after it, only the dot is missing.
_LAST_LINE = re.compile(rb"\r\n--[^\r\n]+--\r\n\Z")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection
_SLOW = 0.05


def _message_id(raw: bytes) -> str:
    found = _MESSAGE_ID.search(raw[: raw.find(b"\r\n\r\n") + 2])
    return found[1].decode() if found else ""


class Lots:
    """Draws what goes wrong."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.seed = seed
        self.faults = faults
        self._drawn: dict[tuple[str, str], int] = {}

    def draw(self, stage: str, recipient: str) -> str | None:
        """What to say instead of yes; None for yes."""
        choices = self.faults.get(stage)
        if not choices:
            return None
        times = self._drawn.get((stage, recipient), 0)
        self._drawn[stage, recipient] = times + 1
        chance = random.Random(f"{self.seed} {stage} {recipient} {times}").random()
        for said, probability in choices:
            chance -= probability
            if chance < 0:
                return said
        return None


class Connection:
    """One client. `stage` is how far the mail at hand has come, as the ledger calls it."""

    def __init__(self, sink: Sink, sock: socket.socket, number: int) -> None:
        self.sink = sink
        self.sock = sock
        self.number = number
        self.stage = "connect"
        self.recipient = ""
        self.is_open = True
        self._message_id = self._previous = ""
        self._buffer = bytearray()
        self._searched = 0
        self._in_mail = self._waits = False

    def greet(self) -> None:
        """Say the first word."""
        self._say("connect", str(self.number))

    def read(self) -> None:
        """Take in what the client said, or that it is gone."""
        if not self.is_open:
            return
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close(by_sink=False)
            return
        self._buffer += data
        self._go_on()

    def _go_on(self) -> None:
        while self.is_open and not self._waits and self._buffer:
            if not (self._mail() if self._in_mail else self._command()):
                return

    def _command(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        verb = line[:4].upper()
        if verb in (b"EHLO", b"HELO"):
            self._say("ehlo", str(self.number))
        elif verb == b"MAIL":
            self.recipient = self._message_id = ""
            self._say("mail", str(self.number))
        elif verb == b"RCPT":
            found = _PATH.search(line)
            self.recipient = found[1].decode() if found else ""
            if not self._say("rcpt", self.recipient):
                self.recipient = ""
        elif verb == b"DATA" and not self.recipient:
            self._send(b"503 5.5.1 RCPT first\r\n")
        elif verb == b"DATA":
            self._in_mail = self._say("data", self.recipient)
            self._searched = 0
        elif verb == b"RSET":
            self.recipient = ""
            self._send(b"250 2.0.0 ok\r\n")
        elif verb == b"QUIT":
            self.stage = "quit"
            self._send(b"221 2.0.0 bye\r\n")
            self.close()
        else:
            self._send(b"500 5.5.1 what?\r\n")
        return True

    def _mail(self) -> bool:
        self.stage = "body"
        if self._buffer.startswith(b".\r\n"):
            raw, used = b"", 3
        else:
            end = self._buffer.find(b"\r\n.\r\n", self._searched)
            if end < 0:
                self._searched = max(0, len(self._buffer) - 4)
                if _LAST_LINE.search(self._buffer, self._searched and self._searched - 200):
                    self._offered()
                return False
            raw, used = bytes(self._buffer[: end + 2]), end + 5
        del self._buffer[:used]
        self._in_mail = False
        self.stage = "dot"
        self._arrived(raw.replace(b"\r\n.", b"\r\n"))
        return True

    def _offered(self) -> None:
        if self.stage != "offered":
            self.stage = "offered"
            if self.sink.lots.draw("offered", self.recipient):
                self.sink.note(what="fault", stage="offered", said="hang-up")
                self.close()

    def _arrived(self, raw: bytes) -> None:
        said = self.sink.lots.draw("dot", self.recipient) or "250 2.0.0 taken"
        self._message_id = _message_id(raw)
        is_refusal = said[:1] in ("4", "5")
        self.sink.note(
            what="mail",
            at=time.time(),
            recipient=self.recipient,
            message_id=self._message_id,
            sha256=hashlib.sha256(raw).hexdigest(),
            taken=not (is_refusal or said in ("drop", "inside")),
            said="250 2.0.0 taken" if said in ("slow", "split") else said,
        )
        pause = self.sink.delay * random.random()
        if pause > 0:
            self._later(pause, lambda: self._obey("dot", said))
        else:
            self._obey("dot", said)

    def _say(self, stage: str, argument: str) -> bool:
        """Say yes or what the lot says; whether that was a yes."""
        self.stage = stage
        said = self.sink.lots.draw(stage, argument)
        if said is None:
            self._send(_YES[stage])
            return True
        self.sink.note(what="fault", stage=stage, said=said)
        self._obey(stage, said)
        return said in ("slow", "split") or said.encode()[:1] == _YES[stage][:1]

    def _obey(self, stage: str, said: str) -> None:
        yes = _YES[stage]
        if said in ("drop", "take-drop", "inside"):
            self.close(reset=said == "inside")
        elif said == "garbage":
            self._send(random.choice((b"25\r\n", b"all is well\r\n", b"\0\xff 250\r\n")))
        elif said == "slow":
            self._later(_SLOW, lambda: self._send(yes))
        elif said == "split":
            middle = random.randrange(1, len(yes) - 1)
            self._send(yes[:middle])
            self._later(_SLOW / 5, lambda: self._send(yes[middle:]))
        else:
            self._send(said.encode() + b"\r\n")
            if said.startswith("421"):
                self.close()
        if stage == "dot" and self.is_open:
            self.stage, self._previous = "answered", self._message_id

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        """Do it in a while; until then nothing more that the client says is looked at."""
        self._waits = True

        def now() -> None:
            self._waits = False
            if self.is_open:
                call()
                self._go_on()

        self.sink.later(seconds, now)

    def _send(self, data: bytes) -> None:
        if self.is_open:
            try:
                self.sock.send(data)  # a reply always fits into the kernel's buffer
            except OSError:
                self.close(by_sink=False)

    def close(self, *, by_sink: bool = True, reset: bool = False) -> None:
        """End the connection, and say in the ledger how far it was."""
        if not self.is_open:
            return
        self.is_open = False
        if self.stage != "quit":
            if self.stage in ("body", "offered"):
                self._message_id = _message_id(bytes(self._buffer))
            self.sink.note(
                what="end",
                at=time.time(),
                stage=self.stage,
                recipient=self.recipient,
                message_id=self._message_id,
                previous=self._previous,
                by_sink=by_sink,
            )
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sink.forget(self)


class Sink:
    """The receiver. delay: seconds that the answer to a dot takes at most.

    bell: a pipe that gets a byte for each connection.
    """

    def __init__(self, ledger: str, lots: Lots, delay: float, bell: int | None = None) -> None:
        self.lots = lots
        self.delay = delay
        self._bell = bell
        self._ledger = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(0, selectors.EVENT_READ, self._told)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._connections: set[Connection] = set()
        self._number = 0
        self._wants_quiet = False

    def note(self, **entry: Any) -> None:
        """One more line of the ledger; it is written when this returns."""
        os.write(self._ledger, json.dumps(entry).encode() + b"\n")

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it in a while."""
        self._number += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._number, call))

    def forget(self, connection: Connection) -> None:
        """A connection ended."""
        self._selector.unregister(connection.sock)
        connection.sock.close()
        self._connections.discard(connection)

    def run(self) -> None:
        """Serve until the standard input ends."""
        while True:
            wait = None
            if self._timers:
                wait = max(0.0, self._timers[0][0] - time.monotonic())
            for key, _events in self._selector.select(wait):
                if key.data() is False:
                    return
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()
            if self._wants_quiet and not self._connections:
                self._wants_quiet = False
                print("quiet", flush=True)

    def _accept(self) -> None:
        # All that wait: who asks for quiet must not be told so while a dead client's last words
        # are still in the queue.
        while True:
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._number += 1
            if self._bell is not None:
                os.write(self._bell, b"!")
            connection = Connection(self, sock, self._number)
            self._connections.add(connection)
            self._selector.register(sock, selectors.EVENT_READ, connection.read)
            connection.greet()

    def _told(self) -> bool:
        words = os.read(0, 1 << 16).decode()
        for line in words.splitlines():
            word, _, rest = line.partition(" ")
            if word == "quiet":
                self._accept()
                self._wants_quiet = True
            elif word == "faults":
                self.lots.faults = json.loads(rest)
                print("ok", flush=True)
            elif word == "delay":
                self.delay = float(rest)
                print("ok", flush=True)
        return bool(words)


def main() -> None:
    """Say the port, and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ledger")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=json.loads, default={})
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--bell", type=int)
    given = parser.parse_args()
    sink = Sink(given.ledger, Lots(given.seed, given.faults), given.delay, given.bell)
    print(sink.port, flush=True)
    sink.run()
    sys.exit(0)


if __name__ == "__main__":
    main()
