"""A Postfix of a test's own: on a free port of loopback, into mailboxes in its own folder.

Nothing of it leaves the machine: every address but those of example.net is an error to it. It
needs Debian's package and root, since Postfix changes its accounts; it reads nothing of the
machine's own Postfix and leaves nothing behind.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

_PROGRAMS = Path("/usr/lib/postfix/sbin")
_MAIL_OWNER = 5000  # an account that nobody has; it owns the mailboxes

_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
command_directory = /usr/sbin
daemon_directory = {programs}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = relay.example.org
mydestination =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
in_flow_delay = 0
alias_maps =
local_recipient_maps =
local_transport = error:nobody is here
default_transport = error:nothing leaves this machine
relay_transport = error:nothing leaves this machine
virtual_mailbox_domains = example.net
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = texthash:{folder}/etc/mailboxes
virtual_uid_maps = static:{owner}
virtual_gid_maps = static:{owner}
"""
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
"""


def why_not() -> str | None:
    """Why there can be no Postfix here; None when there can."""
    if not (_PROGRAMS / "master").exists():
        return "Postfix is not installed (apt-get install postfix)"
    if os.geteuid() != 0:
        return "Postfix needs root"
    return None


class Postfix:
    """A running relay on `port`, with a mailbox for each of `readers` (names before the @)."""

    def __init__(self, readers: Iterable[str]) -> None:
        self._readers = list(readers)
        # Its accounts must be able to reach it, which pytest's own folders do not allow.
        self.folder = Path(tempfile.mkdtemp(prefix="newsletter-postfix-"))
        self.folder.chmod(0o755)
        self._mail = self.folder / "mail"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    def __enter__(self) -> Postfix:
        account = pwd.getpwnam("postfix")
        etc = self.folder / "etc"
        for name in ("etc", "queue", "data", "mail"):
            (self.folder / name).mkdir()
        os.chown(self.folder / "data", account.pw_uid, account.pw_gid)
        os.chown(self._mail, _MAIL_OWNER, _MAIL_OWNER)
        values = {"folder": self.folder, "programs": _PROGRAMS, "owner": _MAIL_OWNER}
        (etc / "main.cf").write_text(_MAIN.format(**values))
        (etc / "master.cf").write_text(_MASTER.format(port=self.port))
        boxes = "".join(f"{name}@example.net {name}/\n" for name in self._readers)
        (etc / "mailboxes").write_text(boxes)
        # Makes the folders of the queue.
        subprocess.run(["postfix", "-c", etc, "check"], check=True, capture_output=True)
        # -e: it ends by itself, were the tests killed.
        self._master = subprocess.Popen(
            [_PROGRAMS / "master", "-c", etc, "-d", "-e", "120"],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "MAIL_CONFIG": str(etc)},
            start_new_session=True,
        )
        self._wait()
        return self

    def _wait(self) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end and self._master.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as line:
                    if line.recv(3) == b"220":
                        line.sendall(b"QUIT\r\n")
                        line.recv(100)
                        return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"Postfix did not start: {self.log()}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._master.poll() is None:
            os.killpg(self._master.pid, signal.SIGTERM)  # its daemons are of its group
            self._master.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What it has to say for itself."""
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def mails(self) -> dict[str, list[bytes]]:
        """What lies in the mailboxes: {name before the @: the mails}."""
        found: dict[str, list[bytes]] = {}
        for path in self._mail.glob("*/new/*"):
            found.setdefault(path.parts[-3], []).append(path.read_bytes())
        return found
