"""What the relay's answers, and the end of a line, mean for one mail."""

from __future__ import annotations

from newsletter.mail.transport import (
    Refused,
    RelayProblem,
    Reply,
    Returned,
    Stage,
    TryLater,
    Unknown,
)

Failure = Refused | TryLater | RelayProblem | Returned

# RFC 4954 §6: said at any stage, and about us, not about the recipient of the moment.
_LOGIN_WANTED = frozenset({530, 534, 535, 538})


def about_mail(reply: Reply) -> Failure:
    """What a 4yz or 5yz to RCPT, DATA, the body or the dot means."""
    if reply.code in _LOGIN_WANTED:
        return RelayProblem(reply, reply.stage)
    if reply.code >= 500:
        return Refused(reply, reply.stage)
    return TryLater(reply, reply.stage)


def before_dot(
    stage: Stage, reply: Reply | None, cause: str | None, *, first_on_line: bool
) -> Failure:
    """What the end of the line at `stage` means for a mail of which no dot was written.

    reply: the last words to it (a 421, a refusal in the middle of the body). A relay may end a
    connection between two mails: that says nothing of the second, and nothing of itself.
    """
    if stage in ("mail", "rset"):
        if first_on_line:
            return RelayProblem(reply, "mail", cause=cause)
        return Returned(reply, "mail", cause=cause)
    if stage == "body" and reply is not None:
        return about_mail(reply)
    return TryLater(reply, stage, cause=cause)


def after_dot(reply: Reply | None, cause: str | None, *, dot_left: bool) -> Failure | Unknown:
    """What the end of the line means for a mail whose dot was to be written.

    dot_left: whether any byte of it may have left this machine; else it is as without a dot.
    """
    if dot_left:
        return Unknown(cause=cause)
    return before_dot("body", reply, cause, first_on_line=False)
