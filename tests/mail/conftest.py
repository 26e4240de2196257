"""What the tests of the transport share: a mail, certificates, a relay that follows a script."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lettering import CHROMIUM

from newsletter.mail.letters import Letter
from newsletter.mail.message import Headers, build
from newsletter.mail.sink import Sink

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def raw() -> bytes:
    """A mail as it goes over the wire."""
    return build(
        Letter("The meadow in March", ".\n..\nHello\n", "<p>.hello</p>\n"),
        Headers(
            from_name="Field Notes",
            from_address="notes@example.org",
            to_address="ada@example.org",
            message_id="<d1@example.org>",
            date=datetime(2026, 3, 1, 12, tzinfo=UTC),
        ),
    )


@pytest.fixture(scope="session")
def server_tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's context with a certificate for 127.0.0.1 that nobody but `client_tls` believes."""
    return _server_tls(tmp_path_factory.mktemp("tls"), days=1)


@pytest.fixture(scope="session")
def expired_tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The same with a certificate that was good until yesterday."""
    return _server_tls(tmp_path_factory.mktemp("expired"), days=-1)


def _server_tls(folder: Path, days: int) -> ssl.SSLContext:
    """days: for which the certificate is still good."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sink")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=2))
        .not_valid_after(today + timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "sink.pem"
    pem = serialization.Encoding.PEM
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    context.certificate_file = file  # type: ignore[attr-defined]
    return context


@pytest.fixture(scope="session")
def client_tls(server_tls: ssl.SSLContext) -> ssl.SSLContext:
    """A client's context that believes the certificate of `server_tls`."""
    file: Path = server_tls.certificate_file  # type: ignore[attr-defined]
    return ssl.create_default_context(cafile=str(file))


# What a relay does with one connection: read and write on the socket as it likes.
Behaviour = Callable[[socket.socket], None]


@pytest.fixture
def relay() -> Iterator[Callable[[Behaviour], int]]:
    """Starts a relay that behaves as told on every connection, and returns its port.

    For what a real receiver never does: speak too early, drip, hang up in the middle of a mail.
    """
    with contextlib.ExitStack() as stack:

        def start(behave: Behaviour) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def accept() -> None:
                while True:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    with connection, contextlib.suppress(OSError):
                        behave(connection)

            thread = threading.Thread(target=accept)
            thread.start()
            stack.callback(thread.join)
            # Closing alone does not wake a thread that is in accept().
            stack.callback(lambda: listener.shutdown(socket.SHUT_RDWR))
            return int(listener.getsockname()[1])

        yield start


@pytest.fixture(params=["pipelined", "in lockstep"])
def relays(request: pytest.FixtureRequest) -> Iterator[Sink]:
    """A receiver that offers PIPELINING, and one that does not."""
    with Sink(pipelining=request.param == "pipelined") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield running
        running.close()
