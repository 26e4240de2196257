"""The signing key of the consent log and what is kept beside it, outside of the database.

The folder holds `key` (the private key; or the setting consent_key has it), `keys` (the public
half of every key that ever signed, the newest last, so that old receipts stay verifiable), and
`checkpoint` (the last one signed: whoever puts an older database back is found out by it).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from newsletter.config import Settings
from newsletter.consent.note import Signer, Verifier
from newsletter.errors import BadNote, ConfigError, WrongState

_KEY = "key"
_KEYS = "keys"
_CHECKPOINT = "checkpoint"


class Keyring:
    """The keys in `folder`. key: the private key's line when a setting has it, else None."""

    def __init__(self, folder: Path, key: str | None = None) -> None:
        self.folder = folder
        self._key = key

    @classmethod
    def of(cls, settings: Settings) -> Keyring:
        """The keyring that the settings name."""
        key = settings.consent_key
        return cls(Path(settings.consent_folder), key.get_secret_value() if key else None)

    @property
    def signer(self) -> Signer:
        """Today's key; raises ConfigError with the cure when it is missing or damaged."""
        file = self.folder / _KEY
        where = "consent_key" if self._key else str(file)
        try:
            return Signer.parse(self._key or file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(
                [
                    f"consent_folder: there is no signing key at {file}. Put it back from its "
                    "backup; newsletter migrate makes the first one, and newsletter consent "
                    "rotate-key another one when it is lost"
                ]
            ) from error
        except (OSError, UnicodeDecodeError, BadNote) as error:
            raise ConfigError([f"{where}: the signing key cannot be read: {error}"]) from error

    @property
    def is_complete(self) -> bool:
        """Whether there is a key to sign with."""
        return self._key is not None or (self.folder / _KEY).exists()

    @property
    def verifiers(self) -> list[Verifier]:
        """The public half of every key that signed this log, today's last.

        Raises ConfigError when the file of them is damaged.
        """
        file = self.folder / _KEYS
        try:
            lines = file.read_text(encoding="utf-8").split() if file.exists() else []
            found = dict.fromkeys(Verifier.parse(line) for line in lines)
        except (OSError, UnicodeDecodeError, BadNote) as error:
            raise ConfigError([f"{file}: the public keys cannot be read: {error}"]) from error
        if self.is_complete:
            today = self.signer.verifier
            found.pop(today, None)
            found[today] = None
        return list(found)

    def origin(self, log: int) -> str:
        """What the log of this number is called in its checkpoints; raises as `signer` does."""
        name = self.signer.name
        return name if log == 1 else f"{name}/{log}"

    def create(self, origin: str) -> bool:
        """Make the folder (mode 700) and a key called `origin` (mode 600), where there is none.

        Returns whether a key was made. A key that there is, as a file or a setting, stays.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.is_complete:
            self.remember()
            return False
        signer = Signer.fresh(origin)
        self._add_public(signer.verifier)
        try:
            with _opened(self.folder / _KEY, os.O_CREAT | os.O_EXCL) as number:
                os.write(number, f"{signer.secret}\n".encode())
        except FileExistsError:  # made at the same moment by another process
            return False
        self._sync_folder()
        return True

    def rotate(self) -> Verifier:
        """Sign with a fresh key of the same name from now on; the old public half is kept.

        Also for a private key that is lost, as long as `keys` is there. Returns the new public
        half. Raises WrongState when the key is a setting, which only its owner can change.
        """
        if self._key is not None:
            raise WrongState(
                "The signing key is the setting consent_key: put another one there. The public "
                f"half of the old one stays in {self.folder / _KEYS}."
            )
        if self.is_complete:
            self.remember()
            name = self.signer.name
        else:
            known = self.verifiers
            name = known[-1].name if known else self.signer.name  # raises: nothing to go on from
        signer = Signer.fresh(name)
        # The public half first: nothing is ever signed that cannot be verified.
        self._add_public(signer.verifier)
        self._replace(_KEY, f"{signer.secret}\n")
        return signer.verifier

    def remember(self) -> None:
        """Keep the public half of today's key for later, when a setting or a file has a new one."""
        today = self.signer.verifier
        if today.vkey not in self._public_lines():
            self._add_public(today)

    def last_checkpoint(self) -> str | None:
        """The signed note that was kept last; None when none was."""
        try:
            return (self.folder / _CHECKPOINT).read_bytes().decode()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            file = self.folder / _CHECKPOINT
            raise ConfigError([f"{file}: the last checkpoint cannot be read: {error}"]) from error

    def keep_checkpoint(self, note: str) -> None:
        """Keep a signed note as the last one; on the disk when this returns."""
        self.remember()
        self._replace(_CHECKPOINT, note)

    def _public_lines(self) -> list[str]:
        file = self.folder / _KEYS
        return file.read_text(encoding="utf-8").split() if file.exists() else []

    def _add_public(self, verifier: Verifier) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._replace(
            _KEYS, "".join(f"{line}\n" for line in [*self._public_lines(), verifier.vkey])
        )

    def _replace(self, name: str, text: str) -> None:
        """Write a file so that a crash leaves the old one or the new one, whole."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self.folder / f".{name}.{secrets.token_hex(4)}"
        with _opened(fresh, os.O_CREAT | os.O_EXCL) as number:
            os.write(number, text.encode())
        fresh.replace(self.folder / name)
        self._sync_folder()

    def _sync_folder(self) -> None:
        number = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


@contextmanager
def _opened(file: Path, flags: int) -> Iterator[int]:
    """The file, to be written and flushed to the disk; readable by its owner only."""
    number = os.open(file, flags | os.O_WRONLY, 0o600)
    try:
        yield number
        os.fsync(number)
    finally:
        os.close(number)
