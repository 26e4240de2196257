"""Settings: where they come from, and that a wrong one stops the start with every fault told."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from newsletter import config
from newsletter.config import Settings
from newsletter.errors import ConfigError

SECRET = "q7" * 20
NEEDED = {
    "NEWSLETTER_BASE_URL": "https://news.example.org",
    "NEWSLETTER_SECRET_KEY": SECRET,
    "NEWSLETTER_HASH_KEY": "h" * 40,
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No newsletter.toml of the folder that the tests were started in is read."""
    monkeypatch.chdir(tmp_path)


def load(**variables: str) -> config.Loaded:
    extra = {f"NEWSLETTER_{name.upper()}": value for name, value in variables.items()}
    return config.load(environ={**NEEDED, **extra})


def faults(**variables: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(**variables)
    assert str(caught.value) == "\n".join(caught.value.faults)
    return caught.value.faults


def write(file: Path, **over: str) -> Path:
    lines = {"base_url": '"https://a.example"', "secret_key": f'"{SECRET}"'}
    lines["hash_key"] = f'"{"h" * 40}"'
    file.write_text("".join(f"{n} = {v}\n" for n, v in {**lines, **over}.items()))
    return file


def test_environment_alone_is_enough() -> None:
    """No file is needed when the environment has all that has no default."""
    loaded = load()
    assert loaded.settings.base_url == "https://news.example.org"
    assert loaded.origins["base_url"] == "NEWSLETTER_BASE_URL"
    assert loaded.origins["port"] == "default"
    assert set(loaded.origins) == set(config.Settings.model_fields)


def test_environment_beats_file(tmp_path: Path) -> None:
    """A variable wins over the file, and each value's origin is told."""
    file = write(tmp_path / "own.toml", port="8100", threads="3")
    loaded = config.load(file, {"NEWSLETTER_PORT": "9000"})
    assert (loaded.settings.port, loaded.settings.threads) == (9000, 3)
    assert loaded.origins["port"] == "NEWSLETTER_PORT"
    assert loaded.origins["threads"] == str(file)


def test_file_named_by_variable(tmp_path: Path) -> None:
    """NEWSLETTER_CONFIG names the file, and is no setting itself."""
    file = write(tmp_path / "own.toml", port="8100")
    loaded = config.load(environ={"NEWSLETTER_CONFIG": str(file)})
    assert (loaded.settings.port, loaded.file) == (8100, file)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    """A file that was asked for and is not there is a fault; the default one may be missing."""
    with pytest.raises(ConfigError, match=r"gone\.toml does not exist: newsletter init"):
        config.load(tmp_path / "gone.toml", NEEDED)


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe", b"port = 1\nport = 2"])
def test_broken_file_is_told(tmp_path: Path, content: bytes) -> None:
    """A file that is not TOML is one fault with its place, not a traceback."""
    file = tmp_path / "own.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"own\.toml: cannot be read"):
        config.load(file, NEEDED)


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Every fault of the file and of the environment is told together, with its origin."""
    file = write(tmp_path / "own.toml", port='"x"', colour='"red"', hash_key='"short"')
    with pytest.raises(ConfigError) as caught:
        config.load(file, {"NEWSLETTER_THREADS": "0", "NEWSLETTER_LOG_LEVEL": "loud"})
    text = str(caught.value)
    for part in (
        f"port ({file})",
        f"colour ({file}): unknown",
        f"hash_key ({file}): must be at least 32 characters; make one with",
        "threads (NEWSLETTER_THREADS)",
        "log_level (NEWSLETTER_LOG_LEVEL): Input should be 'debug'",
    ):
        assert part in text
    assert len(caught.value.faults) == 5
    assert caught.value.exit_code == 5


def test_missing_settings_say_where_they_go() -> None:
    """Nothing set at all: each needed setting is named with both places, and `newsletter init`."""
    with pytest.raises(ConfigError) as caught:
        config.load(environ={})
    assert [fault.split()[0] for fault in caught.value.faults] == [
        "base_url",
        "secret_key",
        "hash_key",
    ]
    assert "set NEWSLETTER_BASE_URL" in caught.value.faults[0]
    assert "newsletter init makes one" in caught.value.faults[0]


def test_unknown_setting_gets_a_suggestion(tmp_path: Path) -> None:
    """A typing error names the setting that was meant, in a file and in a variable."""
    assert faults(basurl="x") == [
        "NEWSLETTER_BASURL: unknown setting; did you mean base_url?",
    ]
    assert faults(xyzzyq="x")[0].endswith("newsletter config show lists them")
    with pytest.raises(ConfigError, match="did you mean smtp_url"):
        config.load(write(tmp_path / "own.toml", smtp_ulr='"smtp://a"'), {})


def test_no_name_is_left_out() -> None:
    """Whatever a variable of ours is called, it is a setting or a fault."""
    (fault,) = faults(test_mode="1")
    assert fault.startswith("NEWSLETTER_TEST_MODE: unknown setting")


def test_secret_from_a_file(tmp_path: Path) -> None:
    """NEWSLETTER_<SECRET>_FILE names a file with the value; blanks at its end do not count."""
    secret = tmp_path / "secret"
    secret.write_text("z" * 33 + "\n")
    environ = {k: v for k, v in NEEDED.items() if k != "NEWSLETTER_SECRET_KEY"}
    loaded = config.load(environ={**environ, "NEWSLETTER_SECRET_KEY_FILE": str(secret)})
    assert loaded.settings.secret_key.get_secret_value() == "z" * 33
    assert loaded.origins["secret_key"] == "NEWSLETTER_SECRET_KEY_FILE"


def test_secret_file_faults(tmp_path: Path) -> None:
    """A missing file, the value twice, and _FILE for what is no secret are faults."""
    assert "cannot be read" in faults(smtp_url_file=str(tmp_path / "gone"))[0]
    both = faults(secret_key_file=str(tmp_path / "gone"))
    assert "both NEWSLETTER_SECRET_KEY and NEWSLETTER_SECRET_KEY_FILE are set" in both[0]
    assert faults(base_url_file="x")[0].startswith("NEWSLETTER_BASE_URL_FILE: unknown setting")


def test_lists_in_variables() -> None:
    """A list in a variable is its items with blanks between; all keys are good, the newest last."""
    settings = load(
        old_secret_keys=f"{'a' * 32} {'b' * 32}", trusted_proxies="127.0.0.1/32 fd00::/8"
    ).settings
    assert settings.all_secret_keys == ["a" * 32, "b" * 32, SECRET]
    assert [str(network) for network in settings.trusted_proxies] == ["127.0.0.1/32", "fd00::/8"]
    assert faults(trusted_proxies="127.0.0.1/32 office") == [
        "trusted_proxies (NEWSLETTER_TRUSTED_PROXIES): must be networks such as 127.0.0.1/32 or "
        "fd00::/8: 'office' does not appear to be an IPv4 or IPv6 network"
    ]


@pytest.mark.parametrize(
    "url",
    [
        "news.example.org",
        "ftp://news.example.org",
        "https://",
        "https://news.example.org?x=1",
        "https://news.example.org/#top",
        "https://me:pw@news.example.org",
        "https://news.example.org:port",
        "https://news.example.org\r\nBcc: all@example.org",
        "https://news.example.org/\tx",
        "https://news.example.org/a b",
        "https://b\u00fccher.example",
    ],
)
def test_base_url_refused(url: str) -> None:
    """base_url becomes part of mail headers: only a plain http(s) address of ASCII is one."""
    (fault,) = faults(base_url=url)
    assert fault.startswith("base_url (NEWSLETTER_BASE_URL): must be the public address")


def test_base_url_loses_its_slash() -> None:
    """Links are base_url, a slash and the rest: never two slashes."""
    assert load(base_url="https://example.org/news/").settings.base_url.endswith("org/news")


@pytest.mark.parametrize(
    ("url", "host", "port", "security", "user", "password"),
    [
        ("smtp://relay", "relay", 25, "none", None, None),
        ("smtp://relay:2525/", "relay", 2525, "none", None, None),
        ("smtps://u:p@relay", "relay", 465, "tls", "u", "p"),
        ("smtp+starttls://a%40b:p%2F%3Aq@relay:26", "relay", 26, "starttls", "a@b", "p/:q"),
        ("smtp://[::1]:2525", "::1", 2525, "none", None, None),
    ],
)
def test_smtp_url(
    url: str, host: str, port: int, security: str, user: str | None, password: str | None
) -> None:
    """The scheme says how the line is secured and which port; user and password are unquoted."""
    assert load(smtp_url=url).settings.smtp == config.SmtpServer(
        host=host,
        port=port,
        security=security,  # type: ignore[arg-type]
        user=user,
        password=password,
    )


@pytest.mark.parametrize(
    "url",
    [
        "relay:25",
        "http://relay",
        "smtp://",
        "smtp://u:hunter2/x@relay",
        "smtp://u:hunter2#x@relay",
        "smtp://u:hunter2?x@relay",
        "smtp://relay:99999",
        "",
    ],
)
def test_smtp_url_refused_without_its_text(url: str) -> None:
    """A wrong smtp_url is told with the cure and without a piece of its password."""
    (fault,) = faults(smtp_url=url)
    assert "must look like smtp://host:25" in fault
    assert "hunter2" not in fault


def test_no_relay_is_fine() -> None:
    """What sends nothing works without SMTP settings."""
    assert load().settings.smtp is None


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("signup_limit", "many", "30 per hour"),
        ("signup_limit", "0 per hour", "30 per hour"),
        ("signup_limit", "\u0663 per hour", "30 per hour"),
        ("limit_storage", "file:///tmp/limits", "memory:// or such as redis://host"),
        ("limit_storage", "redis:hunter2@host", "memory:// or such as redis://host"),
        ("limit_storage", "", "memory:// or such as redis://host"),
        ("envelope_sender", "bounces", "is not an address"),
        ("retry_delay", "inf", "finite"),
        ("retry_for", "0", "greater than 0"),
        ("port", "70000", "65535"),
        ("host", "", "at least 1 character"),
        ("database_url", "mysql://u:hunter2@host/db", "must be sqlite:///FILE or postgresql://"),
        ("database_url", "sqlite:///", "must be sqlite:///FILE or postgresql://"),
    ],
)
def test_value_refused_with_the_cure(name: str, value: str, cure: str) -> None:
    """Each wrong value is one fault that says what a right one looks like."""
    (fault,) = faults(**{name: value})
    assert cure in fault
    assert "hunter2" not in fault


def test_domains_are_written_as_mails_are_counted() -> None:
    """In A-labels and lower case; of two that are the same the slower one counts."""
    rates = {"MÜNCHEN.example": 3, "GMX.net": 2, "gmx.NET": 1}
    found = Settings(**_values(), domain_rates=rates).domain_rates
    assert found == {"xn--mnchen-3ya.example": 3, "gmx.net": 1}


@pytest.mark.parametrize("name", ["@gmail.com", "ada@example.net", "gmail com", ""])
def test_a_rate_is_for_a_domain(name: str) -> None:
    """Anything else would hold nobody back, and say nothing."""
    with pytest.raises(ValidationError, match="is not a domain"):
        Settings(**_values(), domain_rates={name: 1})


def test_a_lease_outlives_a_busy_moment() -> None:
    """One of a second would be lost by a worker that does its work."""
    assert "lease" in faults(lease="4.9")[0]
    assert load(lease="5").settings.lease == 5


def _values() -> dict[str, str]:
    return {name.removeprefix("NEWSLETTER_").lower(): value for name, value in NEEDED.items()}


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_url_names_our_driver(scheme: str) -> None:
    """All spellings of a PostgreSQL URL mean the driver that we ship."""
    assert load(database_url=f"{scheme}://u@h/db").settings.database_url == (
        "postgresql+psycopg://u@h/db"
    )


def test_relative_sqlite_file_lies_beside_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is the same one, whatever folder a command is started in."""
    home = tmp_path / "home"
    home.mkdir()
    file = write(home / "newsletter.toml")
    monkeypatch.chdir("/")
    assert config.load(file, {}).settings.database_url == f"sqlite:///{home}/newsletter.db"
    absolute = write(home / "b.toml", database_url='"sqlite:////var/lib/n.db"')
    assert config.load(absolute, {}).settings.database_url == "sqlite:////var/lib/n.db"


def test_relative_consent_folder_lies_beside_the_settings(tmp_path: Path) -> None:
    """The signing key is found wherever a command is started; an absolute folder stays."""
    folder = tmp_path / "etc"
    folder.mkdir()
    file = write(folder / "newsletter.toml")
    assert config.load(file, {}).settings.consent_folder == str(folder / "consent")
    write(file, consent_folder='"/srv/keys"')
    assert config.load(file, {}).settings.consent_folder == "/srv/keys"
    assert load().settings.consent_folder == str(tmp_path / "consent")


def test_the_name_of_the_log() -> None:
    """Its public address without the scheme; a key's name has no plus sign."""
    for base_url, name in (
        ("https://news.example.org", "news.example.org/consent-log"),
        ("https://example.org/letters/", "example.org/letters/consent-log"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000/consent-log"),
        ("https://example.org/a+b", "example.org/a%2Bb/consent-log"),
    ):
        assert load(base_url=base_url).settings.log_origin == name


def test_the_signing_key_is_a_secret(tmp_path: Path) -> None:
    """It can come from a file of its own, and no listing of the settings shows it."""
    file = tmp_path / "key"
    file.write_text("PRIVATE+KEY+name+00000000+secret\n")
    settings = load(consent_key_file=str(file)).settings
    assert settings.consent_key is not None
    assert settings.consent_key.get_secret_value() == "PRIVATE+KEY+name+00000000+secret"
    assert "PRIVATE" not in repr(settings)


def test_relative_sqlite_file_without_settings_file(tmp_path: Path) -> None:
    """With the environment alone, the working directory is the place."""
    assert load().settings.database_url == f"sqlite:///{tmp_path}/newsletter.db"


def test_secrets_are_not_shown() -> None:
    """No text form of the settings has a secret in it, whole or in pieces."""
    loaded = load(
        smtp_url="smtp://user:hunter2@relay",
        database_url="postgresql://user:hunter3@host/db",
        old_secret_keys="x" * 32,
    )
    for text in (repr(loaded), str(loaded.settings), repr(loaded.settings.smtp)):
        for secret in (SECRET, "hunter", "x" * 32, "h" * 40):
            assert secret not in text


def test_short_secret_is_not_shown() -> None:
    """A secret that is refused is not in the message that refuses it."""
    (fault,) = faults(secret_key="hunter2")
    assert "hunter2" not in fault


def test_settings_do_not_change() -> None:
    """Settings are read once; nothing in the program changes them."""
    with pytest.raises(ValueError, match="frozen"):
        load().settings.port = 1  # type: ignore[misc]


def test_template_is_a_good_file(tmp_path: Path) -> None:
    """What `newsletter init` writes loads as it is, with secrets of its own each time."""
    file = tmp_path / "newsletter.toml"
    file.write_text(config.template("https://news.example.org"), encoding="utf-8")
    first = config.load(file, {}).settings
    assert first.base_url == "https://news.example.org"
    file.write_text(config.template(), encoding="utf-8")
    second = config.load(file, {}).settings
    keys = {s.get_secret_value() for s in (first.secret_key, first.hash_key)}
    keys |= {s.get_secret_value() for s in (second.secret_key, second.hash_key)}
    assert len(keys) == 4


def test_template_lines_are_good_when_uncommented(tmp_path: Path) -> None:
    """Every line that is commented out is a usable setting: the default, or an example."""
    lines = config.template().splitlines()
    names = tuple(f"# {name} = " for name in config.Settings.model_fields)
    text = "\n".join(line[2:] if line.startswith(names) else line for line in lines)
    file = tmp_path / "newsletter.toml"
    file.write_text(text, encoding="utf-8")
    assert set(tomllib.loads(text)) == set(config.Settings.model_fields)
    loaded = config.load(file, {}).settings
    assert loaded.smtp is not None
    assert loaded.port == config.Settings.model_fields["port"].default


def test_every_setting_is_described() -> None:
    """A description stands beside each setting: a sentence."""
    for name, setting in config.Settings.model_fields.items():
        assert setting.description, name
        assert setting.description.endswith("."), name
