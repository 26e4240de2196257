"""The line to a relay: opening it, and replies that are bounded in lines, length and time.

smtplib brings the commands; what it takes for a reply is decided here, because it would wait for
a slow one without end, and take anything for one.
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import time

from newsletter.config import SmtpServer
from newsletter.mail.transport import RelayProblem, Reply, Stage

_MAX_LINE = 8192
_MAX_LINES = 100
_REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_MAX_TEXT = 500


class Broken(OSError):
    """The line broke, stayed silent for too long, or carried something that is not SMTP."""


class Line(smtplib.SMTP):
    """An SMTP connection. Whatever goes wrong on it is an OSError, and then it is closed.

    patience: seconds that one whole reply may take.
    """

    def __init__(self, server: SmtpServer, patience: float) -> None:
        self.patience = patience
        self._unread = b""
        super().__init__(server.host, server.port, local_hostname="localhost", timeout=patience)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        # smtplib would set no option: the dot after a body then waits 40 ms for the relay's
        # delayed acknowledgement (Nagle's algorithm).
        plain = socket.create_connection((host, port), timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain

    def getreply(self) -> tuple[int, bytes]:
        """The next reply: code and text. smtplib's own commands come through here, too."""
        try:
            return self._reply(time.monotonic() + self.patience)
        except OSError:
            self.close()
            raise

    def _reply(self, deadline: float) -> tuple[int, bytes]:
        texts: list[bytes] = []
        for _ in range(_MAX_LINES):
            found = _REPLY_LINE.fullmatch(self._reply_line(deadline))
            if not found:
                raise Broken("what the relay said is not a reply")
            code, mark, text = found.groups()
            texts.append(text or b"")
            if mark != b"-":
                return int(code), b"\n".join(texts)
        raise Broken("a reply without end")

    def _reply_line(self, deadline: float) -> bytes:
        while b"\n" not in self._unread:
            if len(self._unread) > _MAX_LINE:
                raise Broken("a reply line without end")
            self._unread += self._receive(deadline - time.monotonic())
        line, _, self._unread = self._unread.partition(b"\n")
        return line.rstrip(b"\r")

    def _receive(self, seconds: float) -> bytes:
        if self.sock is None or seconds <= 0:
            raise Broken("no reply in time")
        self.sock.settimeout(seconds)
        received = self.sock.recv(_MAX_LINE)
        self.sock.settimeout(self.patience)
        if not received:
            raise Broken("the relay closed the line")
        return received

    def has_spoken(self) -> bool:
        """Whether something came from the relay that nobody asked for, or it has hung up."""
        if self._unread or self.sock is None:
            return True
        self.sock.setblocking(False)
        try:
            self._unread = self.sock.recv(_MAX_LINE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            self.sock.settimeout(self.patience)
        return True

    def write(self, sent: bytes) -> None:
        """Send all of it, or raise OSError: then nobody knows how much arrived."""
        if self.sock is None:
            raise Broken("the line is closed")
        self.sock.sendall(sent)

    def say(self, command: str, stage: Stage) -> Reply:
        """Send one command and read its reply.

        An answer that came before its question is not taken for one, or every later reply would
        be read for the wrong command. A relay that is going away (421) may say so at any time.
        """
        if not self.has_spoken():
            self.write(f"{command}\r\n".encode())
        elif not self._unread.startswith(b"421"):
            self.close()
            raise Broken("the relay is out of step")
        return self.reply(stage)

    def reply(self, stage: Stage) -> Reply:
        """The next reply, with its text made harmless for a terminal and cut to some length."""
        return readable(*self.getreply(), stage)


class TlsLine(Line):
    """The same over TLS from the first byte (RFC 8314 §3.3)."""

    def __init__(self, server: SmtpServer, patience: float, tls: ssl.SSLContext) -> None:
        self._tls = tls
        super().__init__(server, patience)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = super()._get_socket(host, port, timeout)
        return self._tls.wrap_socket(plain, server_hostname=host)


def readable(code: int, text: bytes, stage: Stage) -> Reply:
    """A reply as a value. `text` comes from outside."""
    words = _UNPRINTABLE.sub(" ", text.decode("utf-8", "replace"))
    return Reply(code, words.strip()[:_MAX_TEXT], stage)


def connect(server: SmtpServer, patience: float, hostname: str | None, tls: ssl.SSLContext) -> Line:
    """A line on which MAIL FROM can be said: connected, encrypted and logged in as `server` says.

    patience: seconds for each step. hostname: for EHLO; None means this machine's.

    Raises RelayProblem naming the stage; the socket is closed then.
    """
    line: Line | None = None
    stage: Stage = "connect"
    try:
        if server.security == "tls":
            line = TlsLine(server, patience, tls)
        else:
            line = Line(server, patience)
        line.local_hostname = hostname or _own_name(line)
        stage = "ehlo"
        _good(line.ehlo(), stage)
        if server.security == "starttls":
            stage = "starttls"
            line.starttls(context=tls)
            if line.has_spoken():
                # What was said before the encryption began was not said by the relay we trust
                # (CVE-2011-0411, the other way round).
                raise Broken("something was said before the encryption began")
            stage = "ehlo"
            _good(line.ehlo(), stage)
        if server.user is not None:
            stage = "auth"
            line.login(server.user, server.password or "")
        return line
    except smtplib.SMTPNotSupportedError as error:
        _close(line)
        raise RelayProblem(Reply(502, f"5.5.1 {error}", stage), stage) from error
    except smtplib.SMTPResponseException as error:
        _close(line)
        text = error.smtp_error
        said = text if isinstance(text, bytes) else text.encode()
        raise RelayProblem(readable(error.smtp_code, said, stage), stage) from error
    except ssl.SSLCertVerificationError as error:
        _close(line)
        said = f"5.7.5 the relay's certificate is not believed: {error.verify_message}".encode()
        raise RelayProblem(readable(454, said, stage), stage) from error
    except UnicodeError as error:
        _close(line)
        raise RelayProblem(
            Reply(535, "5.7.8 host, user and password must be ASCII", stage), stage
        ) from error
    except OSError as error:
        _close(line)
        why = error.strerror or str(error) or "the line broke"
        cause = f"{server.host}, port {server.port}: {why[0].lower()}{why[1:]}"
        raise RelayProblem(None, stage, cause=cause) from error


def _good(answer: tuple[int, bytes], stage: Stage) -> None:
    code, text = answer
    if not 200 <= code < 300:
        raise smtplib.SMTPResponseException(code, readable(code, text, stage).text)


def _close(line: Line | None) -> None:
    if line is not None:
        line.close()


def _own_name(line: Line) -> str:
    """This machine's full name if it has one, else its address on this line (RFC 5321 §4.1.3).

    Not socket.getfqdn: that asks name servers.
    """
    name = socket.gethostname()
    if "." in name:
        return name
    if line.sock is None:
        raise Broken("the line is closed")
    address = str(line.sock.getsockname()[0])
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
