"""The gate: what keeps a digest from being approved or sent."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from newsletter.digests.check.finding import Finding, Level
from newsletter.errors import NewsletterError


class NotFit(NewsletterError):
    """The digest has errors that nobody has said to let pass; names them and the cure.

    findings: the errors that stop it. told_elsewhere: the message for somebody who did not just
    type the command that takes these options.
    """

    exit_code = 8

    def __init__(self, digest_id: int, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        told = f"Digest {digest_id} is not fit to be sent. See: newsletter digest check {digest_id}"
        if never := next((each.rule for each in self.findings if not each.rule.may_pass), None):
            self.told_elsewhere = f"{told}\nNothing lets {never.name} pass. {never.mend}"
            super().__init__(self.told_elsewhere)
            return
        names = " ".join(dict.fromkeys(f"--force {each.rule.name}" for each in self.findings))
        told += "\nTo let it pass as it is: "
        self.told_elsewhere = f"{told}newsletter digest approve {digest_id} {names}"
        super().__init__(f"{told}{names}")


def demand(digest_id: int, findings: Iterable[Finding], forced: Collection[str] = ()) -> None:
    """Raises NotFit when there are errors but for those whose rules are named in `forced`.

    An error that keeps the rest from being looked at stops it all the same (`Rule.may_pass`).
    """
    stopping = [
        each
        for each in findings
        if each.rule.level == Level.ERROR and not (each.rule.may_pass and each.rule.name in forced)
    ]
    if stopping:
        raise NotFit(digest_id, stopping)


def nearest(name: str, names: Collection[str]) -> str:
    """What to say to somebody who named a check that is none of `names`."""
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else "newsletter digest check shows them."
    return f"There is no check {name!r}; {hint}"
