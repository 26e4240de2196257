"""The settings: each with its type, its default, and what `newsletter init` says of it."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from newsletter.config.values import (
    Network,
    Secret,
    SmtpServer,
    check_address,
    check_base_url,
    check_database_url,
    check_domain_rates,
    check_limit,
    check_limit_storage,
    check_own_header,
    check_smtp_url,
    smtp_server,
)


class Settings(BaseModel):
    """All settings. The description of each is what `newsletter init` writes beside it."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    base_url: Annotated[str, AfterValidator(check_base_url)] = Field(
        description="The public address of the service. Every link in every mail starts with it."
    )
    secret_key: Secret = Field(
        description="Signs the links in mails. Change it only with: newsletter secret rotate."
    )
    old_secret_keys: list[Secret] = Field(
        default=[], description="Earlier secret keys, oldest first: links made with them stay good."
    )
    hash_key: Secret = Field(
        description="Names suppressed mailboxes without telling them. Never change it: "
        "blocked and erased people would become unknown."
    )
    database_url: Annotated[str, AfterValidator(check_database_url)] = Field(
        default="sqlite:///newsletter.db",
        repr=False,  # it may hold a password
        description="sqlite:///FILE, or postgresql://user:password@host/database for large "
        "installations. A relative FILE lies beside this file.",
    )
    smtp_url: Annotated[SecretStr | None, AfterValidator(check_smtp_url)] = Field(
        default=None,
        examples=["smtp+starttls://user:password@relay.example.org:587"],
        description="The relay that takes the mail: smtp://host:25, smtps://host:465 or "
        "smtp+starttls://user:password@host:587.",
    )
    envelope_sender: Annotated[str | None, AfterValidator(check_address)] = Field(
        default=None,
        examples=["bounces@example.org"],
        description="Where bounces go (MAIL FROM). Without it, the publication's From address.",
    )
    smtp_timeout: float = Field(
        default=60, gt=0, le=600, description="Seconds that the relay may take for each step."
    )
    smtp_certificate: Literal["check", "ignore"] = Field(
        default="check",
        description="Whether the relay's certificate is checked; ignore is for tests only.",
    )
    smtp_ca_file: str | None = Field(
        default=None,
        examples=["/etc/ssl/private-ca.pem"],
        description="Certificates (PEM) to believe in place of the system's.",
    )
    smtp_connections: int = Field(
        default=10,
        ge=1,
        le=100,
        description="Connections to the relay at once, for each process. It is also how many mails "
        "at most are uncertain after a crash: more is faster, fewer is more certain.",
    )
    smtp_mails_per_connection: int = Field(
        default=500, ge=1, description="Mails after which a connection is opened anew."
    )
    mails_per_second: float = Field(
        default=0,
        ge=0,
        description="Mails a second over all processes; 0 for no limit. People's own letters never "
        "wait for it; what they use is taken from the digests' share.",
    )
    domain_rates: Annotated[
        dict[str, Annotated[float, Field(gt=0)]], AfterValidator(check_domain_rates)
    ] = Field(
        default={},
        examples=[{"gmail.com": 20, "example.edu": 0.5}],
        description="Mails a second to a domain, over all processes, counted likewise; the large "
        "providers have defaults.",
    )
    stop_grace: float = Field(
        default=10,
        ge=0,
        le=600,
        description="Seconds that the relay's last replies may take when the sender is stopped.",
    )
    idempotency_header: Annotated[str | None, AfterValidator(check_own_header)] = Field(
        default=None,
        pattern=r"^[A-Za-z][A-Za-z0-9-]{2,60}$",
        examples=["Resend-Idempotency-Key"],
        description="A header by which the relay knows a mail that it took already. With it, "
        "uncertain mails are sent again by themselves.",
    )
    idempotency_hours: float = Field(
        default=24, gt=0, description="Hours for which the relay knows such a mail again."
    )
    dkim_folder: str = Field(
        default="dkim",
        min_length=1,
        description="The folder of the DKIM keys. A relative one lies beside this file.",
    )
    dkim_keys: list[str] = Field(
        default=[],
        examples=[["s1._domainkey.example.org"]],
        description="The DKIM keys to sign with, as `newsletter dkim new` names them.",
    )
    signers: int = Field(
        default=0, ge=0, le=64, description="Mails signed at once; 0 for one on each core."
    )
    feedback_sender_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]{5,15}$",
        examples=["fieldnotes"],
        description="Who you are in the header Feedback-ID. Without it, made of the host's name.",
    )
    retry_delay: float = Field(
        default=300,
        ge=0,
        description="Seconds until the first retry after a 4xx reply; it doubles.",
    )
    retry_delay_max: float = Field(
        default=21600, gt=0, description="Seconds that a retry delay grows to at most."
    )
    retry_for: float = Field(
        default=432000,
        gt=0,
        description="Seconds after which a mail that is still put off counts as failed.",
    )
    lease: float = Field(
        default=60, ge=5, description="Seconds after which a silent worker's mails are taken back."
    )
    confirm_days: float = Field(
        default=7, gt=0, description="Days that a confirmation link is good for."
    )
    access_minutes: float = Field(
        default=60, gt=0, description="Minutes that the mailed link to one's own data is good for."
    )
    client_address: Literal["full", "truncated", "none"] = Field(
        default="truncated",
        description="How much of a visitor's network address is kept as evidence: full, "
        "truncated (/24, /48) or none.",
    )
    trusted_proxies: list[Network] = Field(
        default=[],
        description="Networks of reverse proxies whose X-Forwarded-For is believed, "
        'such as ["127.0.0.1/32"].',
    )
    signup_limit: Annotated[str, AfterValidator(check_limit)] = Field(
        default="30 per hour",
        description="Sign-up forms accepted from one client.",
    )
    limit_storage: Annotated[str, AfterValidator(check_limit_storage)] = Field(
        default="memory://",
        description="Where the limits are counted: memory:// for one web process, "
        "or redis://host for several.",
    )
    consent_folder: str = Field(
        default="consent",
        min_length=1,
        description="The folder of the consent log's signing key, its last checkpoint and the "
        "ledger. A relative one lies beside this file. Back it up apart from the database.",
    )
    consent_key: SecretStr | None = Field(
        default=None,
        examples=["PRIVATE+KEY+news.example.org/consent-log+..."],
        description="The signing key itself, in place of the file `key` in that folder.",
    )
    checkpoint_every: float = Field(
        default=3600, gt=0, description="Seconds after which a grown consent log is signed again."
    )
    pending_days: float = Field(
        default=30, gt=0, description="Days after which an unconfirmed subscription is erased."
    )
    remind_pending: bool = Field(
        default=False, description="Whether an unconfirmed subscription gets one reminder."
    )
    evidence_years: float = Field(
        default=3, gt=0, description="Years that evidence is kept after the last withdrawal."
    )
    fetch_timeout: float = Field(
        default=20,
        gt=0,
        le=300,
        description="Seconds that reading a feed or a page may take, from its name to its end.",
    )
    fetch_max_bytes: int = Field(
        default=5_000_000,
        ge=1000,
        le=50_000_000,
        description="Bytes that a feed or a page may have, decompressed.",
    )
    fetch_networks: list[Network] = Field(
        default=[],
        description="Networks that are not public and that feeds and pages may be read from all "
        'the same, such as ["10.1.0.0/16"].',
    )
    feed_every: float = Field(
        default=3600,
        ge=60,
        description="Seconds between two looks at a feed; one that fails is asked less often.",
    )
    feed_max_entries: int = Field(
        default=200, ge=1, le=1000, description="Entries of a feed that are read, from its top."
    )
    templates_folder: str | None = Field(
        default=None,
        min_length=1,
        examples=["templates"],
        description="A folder of your own templates for letters; one of the same name takes the "
        "place of ours. A relative one lies beside this file.",
    )
    host: str = Field(
        default="127.0.0.1", min_length=1, description="Where `newsletter serve` listens."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="The port that it listens on.")
    threads: int = Field(default=8, ge=1, le=128, description="Requests that it answers at once.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much goes to the log: debug, info, warning or error."
    )

    @property
    def smtp(self) -> SmtpServer | None:
        """The relay, taken apart; None when none is set."""
        return smtp_server(self.smtp_url.get_secret_value()) if self.smtp_url else None

    @property
    def all_secret_keys(self) -> list[str]:
        """Every key that a link may be signed with, newest last (itsdangerous signs with it)."""
        return [key.get_secret_value() for key in (*self.old_secret_keys, self.secret_key)]

    @property
    def log_origin(self) -> str:
        """What the consent log is called in its checkpoints: its public address, as a name.

        It is taken once, when the signing key is made; the key's name says it from then on.
        """
        parts = urlsplit(self.base_url)
        # A key's name has no plus sign (C2SP signed-note).
        return f"{parts.netloc}{parts.path}/consent-log".replace("+", "%2B")

    @property
    def hash_key_bytes(self) -> bytes:
        """The key under which mailboxes are hashed."""
        return self.hash_key.get_secret_value().encode()


SECRETS = frozenset(
    {"secret_key", "old_secret_keys", "hash_key", "smtp_url", "database_url", "consent_key"}
)
