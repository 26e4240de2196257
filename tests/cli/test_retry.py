"""`newsletter retry`: an operator's word on mails that failed or of which nobody knows."""

from __future__ import annotations

from collections import Counter

import pytest
from commandline import Home
from operating import ago, approved, change, change_digest

from newsletter.mail.sink import Sink
from newsletter.store import DigestState

PEOPLE = ("ada@example.net", "bob@example.net", "eve@example.net")


def recipients(sink: Sink) -> Counter[str]:
    return Counter(address for mail in sink.received for address in mail.recipients)


def counts(home: Home) -> dict[str, int]:
    return {state: n for state, n in home.json("status", 1)["counts"].items() if n}


@pytest.fixture
def refused(either_home: Home, sink: Sink) -> Home:
    """A digest that is sent, with one mail that the relay refused for good."""
    sink.reply = lambda stage, to: "550 5.2.2 full" if (stage, to) == ("rcpt", PEOPLE[1]) else None
    approved(either_home, *PEOPLE, smtp_url=sink.url)
    either_home.run("send", 1, code=3)
    sink.reply = None
    return either_home


@pytest.fixture
def doubtful(home: Home, sink: Sink) -> Home:
    """A digest that is sent, with one mail of which the relay took all and said nothing."""
    sink.reply = lambda stage, to: "take-drop" if (stage, to) == ("dot", PEOPLE[1]) else None
    approved(home, *PEOPLE, smtp_url=sink.url)
    home.run("send", 1, code=3)
    sink.reply = None
    assert counts(home) == {"accepted": 2, "uncertain": 1}
    return home


def test_failed_mails_go_again(refused: Home, sink: Sink) -> None:
    """Those alone; the digest is sending until they are out, and sent then."""
    assert counts(refused) == {"accepted": 2, "failed": 1}
    assert refused.json("retry", 1, "--failed") == {"digest": 1, "again": 1, "left": 0}
    assert counts(refused) == {"accepted": 2, "queued": 1}
    assert refused.json("status", 1)["state"] == "sending"
    assert refused.json("send", 1)["state"] == "sent"
    assert recipients(sink) == dict.fromkeys(PEOPLE, 1)


def test_nothing_to_try_again(refused: Home, sink: Sink) -> None:
    """It is said, and nothing changes."""
    refused.run("retry", 1, "--failed")
    refused.run("send", 1)
    for which in ("--failed", "--uncertain"):
        said = refused.run("retry", 1, which).stdout
        assert said.startswith(f"Digest 1 has no mail that is {which[2:]}")
    assert refused.json("status", 1)["state"] == "sent"
    assert recipients(sink) == dict.fromkeys(PEOPLE, 1)


def test_uncertain_mails_are_left_at_first(doubtful: Home, sink: Sink) -> None:
    """Nobody's answer comes after fifteen minutes; before, it may, and it is said how many."""
    result = doubtful.run("retry", 1, "--uncertain", code=3)
    assert "younger than 15 minutes: 1" in result.stdout
    assert doubtful.json("retry", 1, "--uncertain", code=3) == {"digest": 1, "again": 0, "left": 1}
    assert doubtful.json("send", 1, code=3)["counts"]["uncertain"] == 1
    assert len(sink.received) == 3


def test_a_relay_that_may_take_longer(doubtful: Home) -> None:
    """As long as we wait for its answer, ten times smtp_timeout, nobody is mailed again."""
    doubtful.set(smtp_timeout=120)
    change(doubtful, PEOPLE[1], settled_at=ago(minutes=19))
    result = doubtful.run("retry", 1, "--uncertain", code=3)
    assert "younger than 20 minutes: 1" in result.stdout
    change(doubtful, PEOPLE[1], settled_at=ago(minutes=21))
    assert doubtful.json("retry", 1, "--uncertain")["again"] == 1


def test_the_same_mail_again(doubtful: Home, sink: Sink) -> None:
    """It says what that means; the mail is the same byte by byte, and it goes to nobody else."""
    change(doubtful, PEOPLE[1], settled_at=ago(minutes=16))
    said = doubtful.run("retry", 1, "--uncertain").stdout
    assert "twice" in said
    assert "newsletter send 1" in said
    assert doubtful.json("send", 1)["counts"]["accepted"] == 3
    assert recipients(sink) == {PEOPLE[0]: 1, PEOPLE[1]: 2, PEOPLE[2]: 1}
    first, second = (mail.raw for mail in sink.received if mail.recipients == (PEOPLE[1],))
    assert first == second


def test_a_relay_that_knows_its_copies(doubtful: Home) -> None:
    """With an idempotency header it is said which mails it helps with: those that had it."""
    doubtful.set(idempotency_header="Resend-Idempotency-Key", idempotency_hours=48)
    change(doubtful, PEOPLE[1], settled_at=ago(minutes=16))
    said = doubtful.run("retry", 1, "--uncertain").stdout
    assert "Resend-Idempotency-Key" in said
    assert "48 hours" in said
    # This mail went before the header was set.
    assert "One that carried the header" in said
    assert "may get two" in said


def test_a_mail_that_would_be_another_one(doubtful: Home, sink: Sink) -> None:
    """It stays uncertain, with the reason; --even-changed is the word for it."""
    change(doubtful, PEOPLE[1], settled_at=ago(minutes=16), content_sha256=b"\0" * 32)
    doubtful.run("retry", 1, "--uncertain")
    doubtful.run("send", 1, code=3)
    assert counts(doubtful) == {"accepted": 2, "uncertain": 1}
    assert "changed" in doubtful.run("deliveries", 1, "--state", "uncertain").stdout
    change(doubtful, PEOPLE[1], settled_at=ago(minutes=16))
    assert doubtful.json("retry", 1, "--uncertain", "--even-changed")["again"] == 1
    doubtful.run("send", 1)
    assert recipients(sink)[PEOPLE[1]] == 2


def test_a_digest_that_stands_still(doubtful: Home, sink: Sink) -> None:
    """Its mails may be let go as well; they leave when it goes on."""
    change(doubtful, PEOPLE[1], settled_at=ago(minutes=16))
    change_digest(doubtful, state=DigestState.PAUSED, sent_at=None)
    assert "newsletter resume 1" in doubtful.run("retry", 1, "--uncertain").stdout
    assert len(sink.received) == 3
    doubtful.run("resume", 1)
    assert doubtful.json("send", 1)["counts"]["accepted"] == 3


def test_who_left_meanwhile_gets_nothing(doubtful: Home, sink: Sink) -> None:
    """An operator's word is no consent; and the first try may have arrived all the same."""
    doubtful.run("subscriber", "unsubscribe", PEOPLE[1], "--yes")
    change(doubtful, PEOPLE[1], settled_at=ago(minutes=16))
    doubtful.run("retry", 1, "--uncertain")
    doubtful.run("send", 1, code=3)
    assert counts(doubtful) == {"accepted": 2, "uncertain": 1}
    assert recipients(sink)[PEOPLE[1]] == 1


@pytest.mark.parametrize(
    "words",
    [(), ("--failed", "--uncertain"), ("--failed", "--even-changed"), ("--even-changed",)],
    ids=" ".join,
)
def test_one_of_two(home: Home, words: tuple[str, ...]) -> None:
    """Which mails are meant must be said, and --even-changed is about uncertain ones."""
    assert "--uncertain" in home.run("retry", 1, *words, code=2).stderr


def test_no_such_digest(home: Home) -> None:
    """It says where to look; a draft has no mails to try again."""
    assert "digest list" in home.run("retry", 9, "--failed", code=1).stderr
