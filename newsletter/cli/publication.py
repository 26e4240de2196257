"""`newsletter publication`: what people subscribe to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from newsletter import store
from newsletter.cli import installation, output
from newsletter.cli.group import NounGroup
from newsletter.errors import BadInput
from newsletter.mail.colors import palette
from newsletter.mail.letters import of_files
from newsletter.mail.look import FONTS
from newsletter.store.count import subscriptions_by_state
from newsletter.subscriptions import publications

_FIELDS = (
    "slug",
    "title",
    "description",
    "from_name",
    "from_address",
    "reply_to",
    "unsubscribe_mailto",
    "postal_address",
    "privacy_url",
    "privacy_version",
    "consent_wording",
    "language",
    "accent_color",
    "theme",
    "heading_font",
    "text_font",
    "logo_url",
    "logo_alt",
    "logo_width",
    "logo_height",
    "sends_welcome",
    "sends_goodbye",
    "created_at",
)

# The option, what to call its value, what it is. `create` and `edit` share them.
_OPTIONAL = (
    ("--privacy-version", "TEXT", "Its version; a new one makes a new consent wording."),
    ("--language", "TAG", "The language of its pages and letters, such as en."),
    ("--description", "TEXT", "What it is about, for the sign-up page."),
    ("--reply-to", "ADDRESS", "Where answers to its letters go; without it, to the sender."),
    ("--unsubscribe-mailto", "ADDRESS", "A mailbox that takes unsubscribe requests by mail too."),
    ("--accent-color", "#RRGGBB", "The colour of its buttons and links."),
    ("--theme", "NAME", "What its letters look like: plain (text first) or magazine (pictures)."),
    ("--heading-font", "NAME", f"Of headings in letters: {', '.join(FONTS)}."),
    ("--text-font", "NAME", "Of the text in letters; one of the same."),
    ("--logo-url", "URL", "A picture to stand for its name in letters, at https://."),
    ("--logo-alt", "TEXT", "What the picture says; without it, the name."),
    ("--logo-size", "WIDTHxHEIGHT", "How large the logo is shown, in pixels, such as 240x60."),
    (
        "--consent-wording",
        "TEXT",
        "Your own words beside the box; the part in [brackets] links the privacy policy. Say in "
        "them that the consent can be withdrawn (GDPR Art. 7(3)).",
    ),
)
_NEEDED = (
    ("--title", "TEXT", "Its name, as readers see it."),
    ("--privacy-url", "URL", "Its privacy policy, linked beside the box."),
    ("--postal-address", "TEXT", "The postal address at the end of every letter."),
)


def _options(*, for_new: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        switches = (
            ("--goodbye/--no-goodbye", "sends_goodbye", "Send a letter to who left (off)."),
            ("--welcome/--no-welcome", "sends_welcome", "Send a letter to who confirmed (on)."),
        )
        for names, target, text in switches:
            command = click.option(names, target, default=None, help=text)(command)
        for name, value, text in reversed(_OPTIONAL):
            command = click.option(name, metavar=value, help=text)(command)
        for name, value, text in reversed(_NEEDED):
            command = click.option(name, metavar=value, required=for_new, help=text)(command)
        return click.option(
            "--from",
            "from_",
            metavar="'NAME <ADDRESS>'",
            required=for_new,
            help="The sender that readers see.",
        )(command)

    return decorate


@click.group(cls=NounGroup)
def publication() -> None:
    """What people subscribe to: its name, sender, privacy policy and look."""


@publication.command()
@click.argument("slug")
@_options(for_new=True)
@output.json_option
def create(*, slug: str, as_json: bool, **values: Any) -> None:
    """Make a publication. SLUG becomes the address of its sign-up page.

    \b
    newsletter publication create field-notes --title 'Field Notes' \\
        --from 'Field Notes <notes@example.org>' \\
        --privacy-url https://example.org/privacy \\
        --postal-address 'Field Notes, 1 Meadow Lane, Exampleton'
    """
    with installation.opened() as here:
        with store.transaction(here.engine) as session:
            given = _given(values, here.settings.templates_folder)
            made = publications.create(session, slug=slug, now=installation.now(), **given)
        if as_json:
            output.emit_json(_record(made))
            return
        click.echo(f"Its sign-up page: {here.settings.base_url}/{made.slug}/")
        click.echo(f"Made the publication {made.slug}")
    _tell_colors(made)


@publication.command()
@click.argument("slug")
@_options(for_new=False)
@output.json_option
def edit(*, slug: str, as_json: bool, **values: Any) -> None:
    """Change a publication; what is not named stays as it is.

    An empty text ('') takes an optional value away. New words or a new privacy policy hold for
    those who sign up from now on; the log keeps what each person agreed to.

    \b
    newsletter publication edit field-notes --reply-to editor@example.org --goodbye
    """
    if all(value is None for value in values.values()):
        raise click.UsageError("Name what to change, such as --title.")
    with installation.opened() as here, store.transaction(here.engine) as session:
        changes = _given(values, here.settings.templates_folder)
        changed = publications.edit(session, slug, **changes)
    if as_json:
        output.emit_json(_record(changed))
    else:
        click.echo(f"Changed the publication {slug}")
    if "accent_color" in changes:
        _tell_colors(changed)


@publication.command("list")
@output.json_option
def list_(*, as_json: bool) -> None:
    """List the publications, with how many people are in them.

    \b
    newsletter publication list --json
    """
    with installation.opened() as here, store.reading(here.engine) as session:
        rows = []
        for each in publications.all_of(session):
            states = subscriptions_by_state(session, each.id)
            rows.append(_record(each) | {"subscriptions": states} | states)
    if as_json:
        rows = [{name: row[name] for name in (*_FIELDS, "subscriptions")} for row in rows]
    columns = ["slug", "title", "from_address", "language", "confirmed", "pending"]
    nothing = "There is no publication yet: newsletter publication create --help"
    output.emit_table(rows, columns, as_json=as_json, nothing=nothing)


@publication.command()
@click.argument("slug")
@output.json_option
def show(*, slug: str, as_json: bool) -> None:
    """Show all about a publication.

    \b
    newsletter publication show field-notes
    """
    with installation.opened() as here, store.reading(here.engine) as session:
        found = publications.find(session, slug)
        record = _record(found) | {"subscriptions": subscriptions_by_state(session, found.id)}
    output.emit_record(record, as_json=as_json)


def _record(each: store.Publication) -> dict[str, Any]:
    return {name: getattr(each, name) for name in _FIELDS}


def _given(values: dict[str, Any], templates_folder: str | None) -> dict[str, Any]:
    """What was named, as the story takes it."""
    given = {name: value for name, value in values.items() if value is not None}
    if size := given.pop("logo_size", None):
        found = re.fullmatch(r"(\d{1,4})\s*[xX\u00d7]\s*(\d{1,4})", size.strip())
        if not found:
            raise BadInput("The size of a logo is written as: --logo-size 240x60", "logo_size")
        given |= {"logo_width": int(found[1]), "logo_height": int(found[2])}
    themes = of_files("en", templates_folder).themes()
    if given.get("theme", themes[0]) not in themes:
        raise BadInput(f"The theme is one of: {', '.join(themes)}.", "theme")
    return given


def _tell_colors(each: store.Publication) -> None:
    """A colour that cannot be read is mended in the letters, and its owner is told."""
    colors = palette(each.accent_color)
    if colors.link != each.accent_color:
        click.echo(
            f"Note: words in {each.accent_color} cannot be read on white; letters write links in "
            f"{colors.link}.",
            err=True,
        )
