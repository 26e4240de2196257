"""Writes the newsletter.toml that a new installation starts with."""

from __future__ import annotations

import json
import secrets

from newsletter.config.settings import Settings


def template(base_url: str = "http://127.0.0.1:8000") -> str:
    """A commented newsletter.toml with fresh secrets: each setting, what it is, its default."""
    lines = ["# The settings of newsletter. Each can also be given as NEWSLETTER_<NAME>.", ""]
    fresh = {
        "base_url": base_url,
        "secret_key": secrets.token_urlsafe(32),
        "hash_key": secrets.token_urlsafe(32),
    }
    for name, setting in Settings.model_fields.items():
        lines.append(f"# {setting.description}")
        if name in fresh:
            lines.append(f"{name} = {_toml(fresh[name])}")
        else:
            # What has no default is shown with an example.
            shown = setting.examples[0] if setting.examples else setting.default
            lines.append(f"# {name} = {_toml(shown)}")
        lines.append("")
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(name)} = {_toml(each)}" for name, each in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    # A JSON string is a TOML basic string, and true and false are written alike.
    return json.dumps(value) if isinstance(value, str | bool) else str(value)
