"""Signed links: what a mail lets its reader do, one purpose each.

A link carries random public ids and nothing that tells who is meant. Each purpose has its own
salt, so that no link can be used for another; the keys are the installation's, old ones included,
so that a rotated key does not break the mails that lie in people's mailboxes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from itsdangerous.encoding import int_to_bytes

from newsletter.errors import BadLink, ExpiredLink

Purpose = Literal["confirm", "unsubscribe", "preferences", "access"]

# A clock that was set back must not make fresh links "from the future" useless.
_CLOCK_GRACE = timedelta(minutes=5)


@dataclass(frozen=True)
class Links:
    """Makes and reads the links of one installation.

    base_url: the public address, without a slash at its end; never taken from a request.
    keys: the secret keys, newest last.
    """

    base_url: str
    keys: tuple[str, ...]

    def token(self, purpose: Purpose, *ids: str, at: datetime) -> str:
        """A token for `purpose` that names `ids`, signed as of `at` (aware).

        The same arguments give the same token, so that a mail sent again is the same mail. It is
        the one that itsdangerous makes, but never compressed; a digest needs two for each reader.
        """
        # Such as all public ids: JSON has nothing to escape.
        if len(ids) == 1 and ids[0].isascii() and ids[0].isalnum():
            named = f'["{ids[0]}"]'.encode()
        else:
            named = json.dumps(ids, separators=(",", ":"), ensure_ascii=False).encode()
        said = b"%b.%b" % (_base64(named), _moment(int(at.timestamp())))
        signature = hmac.digest(_signing_key(self.keys[-1], purpose), said, "sha256")
        return (said + b"." + _base64(signature)).decode()

    def url(self, purpose: Purpose, *ids: str, at: datetime) -> str:
        """The full address of such a link, as it stands in a mail."""
        return f"{self.base_url}/{purpose}/{self.token(purpose, *ids, at=at)}"

    def read(
        self, purpose: Purpose, token: str, *, now: datetime, good_for: timedelta | None = None
    ) -> tuple[str, ...]:
        """The ids that a token of this purpose names.

        good_for: how old it may be; None for links that never expire (unsubscribing: RFC 8058,
            and the 60 days that CASL asks for).

        Raises ExpiredLink (with the ids) when it is too old, BadLink when it is not ours, is for
        another purpose, or was changed.
        """
        serializer = _serializer(self.keys, purpose, now)
        try:
            ids, signed_at = serializer.loads(token, return_timestamp=True)
        except (BadData, UnicodeError) as error:  # half a surrogate pair is no text to sign
            raise BadLink("This link is not complete, or not one of ours.") from error
        if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
            raise BadLink("This link is not one of ours.")
        age = now - signed_at
        if good_for is not None and not (-_CLOCK_GRACE <= age <= good_for):
            raise ExpiredLink("This link is too old.", tuple(ids))
        return tuple(ids)


@lru_cache(maxsize=64)
def _signing_key(key: str, purpose: Purpose) -> bytes:
    """The key of one purpose; `_serializer` derives the same for reading."""
    return hmac.digest(key.encode(), _salt(purpose).encode(), "sha256")


@lru_cache(maxsize=64)
def _moment(seconds: int) -> bytes:
    """Seconds since 1970 as they stand in a token: a digest's readers have a few in common."""
    return _base64(int_to_bytes(seconds))


def _base64(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


def _salt(purpose: Purpose) -> str:
    return f"newsletter.{purpose}"


def _serializer(keys: tuple[str, ...], purpose: Purpose, at: datetime) -> URLSafeTimedSerializer:
    class SignerAt(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(at.timestamp())

    return URLSafeTimedSerializer(
        list(keys),
        salt=_salt(purpose),
        signer=SignerAt,
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
