"""`newsletter config`: whether the settings are usable, and where each value comes from.

Secrets are never shown: of a key that it is set, of a URL all but its password.
"""

from __future__ import annotations

import stat
from typing import Any
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from newsletter.cli import output
from newsletter.cli.group import NounGroup
from newsletter.cli.installation import load_settings
from newsletter.config import SECRETS, Loaded
from newsletter.errors import ConfigError
from newsletter.mail import dkim_key

_HIDDEN = "(hidden)"


@click.group(cls=NounGroup)
def config() -> None:
    """Check or show the settings: newsletter.toml and NEWSLETTER_<NAME>."""


@config.command()
@output.json_option
@click.pass_context
def check(ctx: click.Context, *, as_json: bool) -> None:
    """Tell every fault of the settings at once, each with its cure.

    Exit code 0 when they can be used, 5 when not.

    \b
    newsletter --config /etc/newsletter.toml config check
    """
    try:
        loaded = load_settings()
        dkim_key.active(loaded.settings)
    except ConfigError as error:
        if not as_json:
            raise
        output.emit_json({"ok": False, "faults": error.faults, "warnings": []})
        ctx.exit(error.exit_code)
    warnings = list(_warnings(loaded))
    if as_json:
        output.emit_json({"ok": True, "faults": [], "warnings": warnings})
        return
    for warning in warnings:
        click.echo(f"Note: {output.clean(warning)}", err=True)
    click.echo("The settings can be used.")


@config.command()
@output.json_option
def show(*, as_json: bool) -> None:
    """Show every setting, its value, and where the value comes from.

    \b
    newsletter config show
    newsletter config show --json
    """
    loaded = load_settings()
    rows = [
        {"name": name, "value": _shown(name, value), "origin": loaded.origins[name]}
        for name, value in loaded.settings
    ]
    output.emit_table(rows, ["name", "value", "origin"], as_json=as_json, nothing="")


def _shown(name: str, value: Any) -> Any:
    """A value as anybody may see it."""
    if value is None:
        return None
    if name not in SECRETS:
        return [str(item) for item in value] if isinstance(value, list) else value
    if isinstance(value, list):
        return [_HIDDEN for _ in value]
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return _without_password(text) if name.endswith("_url") else _HIDDEN


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if "?" in url:
        # A password may stand among the parameters too.
        url = url.partition("?")[0] + f"?{_HIDDEN}"
    if parts.password is None:
        return url
    user, _, place = parts.netloc.rpartition("@")
    return url.replace(parts.netloc, f"{user.partition(':')[0]}:{_HIDDEN}@{place}", 1)


def _warnings(loaded: Loaded) -> list[str]:
    """What is allowed, and yet rarely meant."""
    settings, found = loaded.settings, []
    if settings.smtp is None:
        found.append("smtp_url is not set: nothing can be sent")
    if settings.base_url.startswith("http://") and "127.0.0.1" not in settings.base_url:
        found.append("base_url is not https: one-click unsubscribing needs https (RFC 8058)")
    if loaded.file.exists() and loaded.file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        found.append(f"{loaded.file} holds secrets and others can read it: chmod 600")
    return found
