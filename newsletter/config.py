"""The settings: newsletter.toml, over it NEWSLETTER_<NAME>, or NEWSLETTER_<NAME>_FILE for secrets.

A wrong or unknown setting stops the start, and all faults are told at once: nobody should learn
of the second typing error from the second crash.
"""

from __future__ import annotations

import difflib
import os
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from newsletter.addresses import parse as parse_address
from newsletter.errors import BadInput, ConfigError

PREFIX = "NEWSLETTER_"
DEFAULT_FILE = "newsletter.toml"
# Read by the command line and wsgi.py to find the file; not a setting of its own.
FILE_VARIABLE = "NEWSLETTER_CONFIG"


@dataclass(frozen=True)
class SmtpServer:
    """Where mail is handed over. `security`: none, starttls (required) or tls (from the start)."""

    host: str
    port: int
    security: Literal["none", "starttls", "tls"]
    user: str | None
    password: str | None


_SMTP_SCHEMES: dict[str, tuple[Literal["none", "starttls", "tls"], int]] = {
    "smtp": ("none", 25),
    "smtp+starttls": ("starttls", 587),
    "smtps": ("tls", 465),
}


def smtp_server(url: str) -> SmtpServer:
    """The parts of an smtp_url; raises ValueError with the cure when it is not one."""
    parts = urlsplit(url)
    if parts.scheme not in _SMTP_SCHEMES or not parts.hostname:
        raise ValueError(
            "must look like smtp://host:25, smtps://host:465 or "
            "smtp+starttls://user:password@host:587"
        )
    security, port = _SMTP_SCHEMES[parts.scheme]
    return SmtpServer(
        host=parts.hostname,
        port=parts.port or port,
        security=security,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def _check_base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(
            "must be the public address of the service, such as https://news.example.org"
        )
    return value.rstrip("/")


def _check_database_url(value: str) -> str:
    # postgresql:// means another driver in each SQLAlchemy release: name ours.
    for old in ("postgres://", "postgresql://"):
        if value.startswith(old):
            value = "postgresql+psycopg://" + value.removeprefix(old)
    if not value.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("must be sqlite:///FILE or postgresql://user:password@host/database")
    return value


def _check_secret(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < 32:
        raise ValueError(
            "must be at least 32 characters; make one with: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return value


def _check_smtp_url(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        smtp_server(value.get_secret_value())
    return value


def _check_address(value: str | None) -> str | None:
    if value is not None:
        try:
            parse_address(value)
        except BadInput as error:
            raise ValueError(f"is not an address: {error}") from error
    return value


Secret = Annotated[SecretStr, AfterValidator(_check_secret)]
Network = IPv4Network | IPv6Network


class Settings(BaseModel):
    """All settings. The description of each is what `newsletter init` writes beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: Annotated[str, AfterValidator(_check_base_url)] = Field(
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
    database_url: Annotated[str, AfterValidator(_check_database_url)] = Field(
        default="sqlite:///newsletter.db",
        description="sqlite:///FILE, or postgresql://user:password@host/database for large "
        "installations. A relative FILE lies beside this file.",
    )
    smtp_url: Annotated[SecretStr | None, AfterValidator(_check_smtp_url)] = Field(
        default=None,
        description="The relay that takes the mail: smtp://host:25, smtps://host:465 or "
        "smtp+starttls://user:password@host:587.",
    )
    envelope_sender: Annotated[str | None, AfterValidator(_check_address)] = Field(
        default=None,
        description="Where bounces go (MAIL FROM). Without it, the publication's From address.",
    )
    smtp_timeout: float = Field(
        default=60, gt=0, le=600, description="Seconds that the relay may take for each step."
    )
    smtp_connections: int = Field(
        default=4, ge=1, le=100, description="Connections to the relay at once, for each process."
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
        default=900, gt=0, description="Seconds after which a silent worker's mails are taken back."
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
    signup_limit: str = Field(
        default="30 per hour",
        pattern=r"^\d+ per (second|minute|hour|day)$",
        description="Sign-up forms accepted from one client.",
    )
    limit_storage: str = Field(
        default="memory://",
        description="Where the limits are counted: memory:// for one web process, "
        "or redis://host for several.",
    )
    host: str = Field(default="127.0.0.1", description="Where `newsletter serve` listens.")
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
    def hash_key_bytes(self) -> bytes:
        """The key under which mailboxes are hashed."""
        return self.hash_key.get_secret_value().encode()


SECRETS = frozenset({"secret_key", "old_secret_keys", "hash_key", "smtp_url", "database_url"})


@dataclass(frozen=True)
class Loaded:
    """Settings with where each came from: a file's name, a variable's name, or "default"."""

    settings: Settings
    origins: dict[str, str]
    file: Path


def load(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """Read the settings.

    file: the TOML file; None means NEWSLETTER_CONFIG or newsletter.toml of the working directory,
        where a missing one is fine as long as the environment has all that is needed.
    environ: the environment variables; None means the process's.

    Raises ConfigError with every fault, each naming the setting, its origin and the cure.
    """
    environ = os.environ if environ is None else environ
    named = file or (Path(environ[FILE_VARIABLE]) if FILE_VARIABLE in environ else None)
    path = named or Path(DEFAULT_FILE)
    faults: list[str] = []
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    _read_file(path, named is not None, values, origins, faults)
    _read_environment(environ, values, origins, faults)
    try:
        settings = Settings(**{k: v for k, v in values.items() if k in Settings.model_fields})
    except ValidationError as error:
        settings = None
        for fault in error.errors():
            name = str(fault["loc"][0])
            text = str(fault["msg"]).removeprefix("Value error, ")
            if fault["type"] == "missing":
                text = f"is not set; put it into {path} or set {PREFIX}{name.upper()}"
                if not path.exists():
                    text += f" ({path} does not exist: newsletter init makes one)"
            faults.append(f"{name} ({origins.get(name, 'missing')}): {text}")
    if faults or settings is None:
        raise ConfigError(faults)
    settings = _anchor_database(settings, path)
    return Loaded(settings, {n: origins.get(n, "default") for n in Settings.model_fields}, path)


def _read_file(
    path: Path, must_exist: bool, values: dict[str, Any], origins: dict[str, str], faults: list[str]
) -> None:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            faults.append(f"{path} does not exist: newsletter init makes one")
        return
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        faults.append(f"{path}: cannot be read: {error}")
        return
    for name, value in table.items():
        if name not in Settings.model_fields:
            faults.append(f"{name} ({path}): unknown setting{_did_you_mean(name)}")
        values[name] = value
        origins[name] = str(path)


def _read_environment(
    environ: Mapping[str, str], values: dict[str, Any], origins: dict[str, str], faults: list[str]
) -> None:
    for variable, value in sorted(environ.items()):
        text = value
        if not variable.startswith(PREFIX) or variable == FILE_VARIABLE:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name.startswith("test_"):  # the test suite's own switches
            continue
        if name.endswith("_file") and name.removesuffix("_file") in SECRETS:
            name = name.removesuffix("_file")
            try:
                text = Path(text).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                faults.append(f"{name} ({variable}): cannot be read: {error}")
                continue
        if name not in Settings.model_fields:
            faults.append(f"{variable}: unknown setting{_did_you_mean(name)}")
            continue
        # A list in a variable is its items with blanks between.
        is_list = "list" in str(Settings.model_fields[name].annotation)
        values[name] = text.split() if is_list else text
        origins[name] = variable


def _did_you_mean(name: str) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f"; did you mean {near[0]}?" if near else "; newsletter config show lists them"


def _anchor_database(settings: Settings, file: Path) -> Settings:
    """A relative SQLite file lies beside the settings, wherever the command was started."""
    name = settings.database_url.removeprefix("sqlite:///")
    if name == settings.database_url or name.startswith("/") or name == ":memory:":
        return settings
    place = (file.resolve().parent / name) if file.exists() else Path(name).resolve()
    return settings.model_copy(update={"database_url": f"sqlite:///{place}"})


def template(base_url: str = "http://127.0.0.1:8000") -> str:
    """A commented newsletter.toml with fresh secrets: each setting, what it is, its default."""
    lines = ["# The settings of newsletter. Each can also be given as NEWSLETTER_<NAME>.", ""]
    fresh = {
        "base_url": base_url,
        "secret_key": secrets.token_urlsafe(32),
        "hash_key": secrets.token_urlsafe(32),
    }
    for name, field in Settings.model_fields.items():
        lines.append(f"# {field.description}")
        if name in fresh:
            lines.append(f'{name} = "{fresh[name]}"')
        else:
            lines.append(f"# {name} = {_toml(field.default)}")
        lines.append("")
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if value is None:
        return '""'
    return str(value)
