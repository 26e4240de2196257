"""What the gate says of a digest: asked by `digest check`, and before approving and sending."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click
from sqlalchemy.orm import Session

from newsletter import fetch
from newsletter.cli import installation, output
from newsletter.consent import checkpoint
from newsletter.digests import check, preview
from newsletter.digests.check import features, links, size
from newsletter.errors import BadInput
from newsletter.fetch import Reach
from newsletter.sending import specimen
from newsletter.sending.origin import Origin
from newsletter.store import Digest

# One address; all of them together have a minute.
_SECONDS_A_LINK = 10.0
# Of a warning. Whoever mends an error wants to know all places of it.
_SHOWN_PLACES = 5

NOT_FIT = check.NotFit.exit_code


def _known(_ctx: click.Context, param: click.Parameter, names: Sequence[str]) -> frozenset[str]:
    try:
        return check.known(names)
    except BadInput as error:
        raise click.BadParameter(str(error), param=param) from error


force_option = click.option(
    "--force",
    "forced",
    metavar="NAME",
    multiple=True,
    callback=_known,
    help="Let the error of this name pass, as newsletter digest check names it; may stand several "
    "times.",
)


@dataclass(frozen=True)
class Checked:
    """A mail of a digest, and what is wrong with it."""

    digest_id: int
    built: check.Built
    facts: check.Facts
    findings: list[check.Finding]

    def count(self, level: check.Level) -> int:
        """How many findings of that level there are."""
        return sum(each.rule.level == level for each in self.findings)

    def demand(self, forced: Collection[str]) -> None:
        """Raises NotFit when there is an error that `forced` does not name."""
        check.demand(self.digest_id, self.findings, forced)


def look_at(here: installation.Installation, session: Session, digest: Digest) -> Checked:
    """The gate's word on `digest` as it was approved, or as it would be now."""
    base_url = here.settings.base_url
    frozen = preview.frozen(
        session,
        digest,
        base_url=base_url,
        checkpoint=checkpoint.newest(session),
        templates_folder=here.settings.templates_folder,
    )
    raw = specimen.mail(digest, frozen, Origin.of(here.settings))
    built, facts = check.read(raw), check.Facts.of(digest, base_url)
    return Checked(digest.id, built, facts, check.check(built, facts))


def ask_the_web(here: installation.Installation, checked: Checked) -> Checked:
    """The same with what the web says of its links and pictures."""
    addresses = links.web_addresses(checked.built, checked.facts)
    reach = Reach.of(here.settings)
    reach = replace(reach, timeout=min(reach.timeout, _SECONDS_A_LINK))
    answers = {
        url: check.Answer(seen.status, seen.problem, seen.is_gone)
        for url, seen in fetch.look_at(addresses, reach=reach).items()
    }
    return replace(checked, findings=check.check(checked.built, checked.facts, answers))


def demand(
    here: installation.Installation, session: Session, digest: Digest, forced: Collection[str]
) -> None:
    """Show what is wrong with `digest` on standard error.

    Raises NotFit when there is an error that `forced` does not name.
    """
    checked = look_at(here, session, digest)
    show(checked)
    checked.demand(forced)


def show(checked: Checked) -> None:
    """What was found, on standard error: a command that does something else tells it beside."""
    for line in lines(checked.findings):
        click.echo(line, err=True)


def lines(findings: Iterable[check.Finding]) -> Iterator[str]:
    """The findings for a person: each rule once, with its cure and its places, if it is a warning
    the first of them.
    """
    groups: dict[tuple[str, str], list[check.Finding]] = {}
    for each in findings:
        groups.setdefault((each.rule.name, each.rule.mend), []).append(each)
    for some in groups.values():
        rule = some[0].rule
        yield f"{rule.level.capitalize()} {rule.name}: {output.clean(rule.says)}"
        most = len(some) if rule.level == check.Level.ERROR else _SHOWN_PLACES
        for each in some[:most]:
            yield f"    {output.clean(_where(each))}"
        if len(some) > most:
            yield f"    and {len(some) - most} more"
        yield f"    Mend it: {output.clean(rule.mend)}"


def summary(checked: Checked) -> str:
    """The last line: how many there are, and how near the limits the sizes are."""
    errors, warnings = map(checked.count, check.Level)
    sizes = size.sizes(checked.built)
    verdict = "is not fit to be sent" if errors else "is fit to be sent"
    return (
        f"Digest {checked.digest_id} {verdict}: {_number(errors, 'error')}, "
        f"{_number(warnings, 'warning')}. HTML {_kb(sizes['html'])} of at most "
        f"{_kb(size.HTML_MOST)}, styles {_kb(sizes['style'])} of {_kb(size.STYLE_MOST)}; what "
        f"mail programs know is as of {features.table().date}."
    )


def record(checked: Checked) -> dict[str, Any]:
    """All of it, by stable names."""
    return {
        "digest": checked.digest_id,
        "subject": checked.built.subject,
        "fit": not checked.count(check.Level.ERROR),
        "errors": checked.count(check.Level.ERROR),
        "warnings": checked.count(check.Level.WARNING),
        "sizes": size.sizes(checked.built),
        "clients_as_of": features.table().date,
        "findings": [
            {
                "name": each.rule.name,
                "level": each.rule.level,
                "says": each.rule.says,
                "part": each.place.part,
                "line": each.place.line,
                "article": each.place.article or None,
                "excerpt": each.place.excerpt,
                "detail": each.detail,
                "mend": each.rule.mend,
            }
            for each in checked.findings
        ],
    }


_PARTS = {
    check.Part.HEADERS: "headers",
    check.Part.SUBJECT: "subject",
    check.Part.HTML: "HTML",
    check.Part.TEXT: "text",
}


def _where(each: check.Finding) -> str:
    place = each.place
    where = _PARTS[place.part]
    if place.line is not None:
        where += f", line {place.line}"
    if place.article:
        where += f", in “{place.article}”"
    told = f"{where}: {place.excerpt}" if place.excerpt else where
    return f"{told} ({each.detail.removesuffix('.')})" if each.detail else told


def _number(count: int, name: str) -> str:
    return f"{count or 'no'} {name}{'' if count == 1 else 's'}"


def _kb(size_in_bytes: int) -> str:
    return f"{size_in_bytes / size.KIB:.0f} KB"
