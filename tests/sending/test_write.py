"""Mails written from rows: the right headers, the right links, the same bytes each time."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy

import pytest
from mailing import FROZEN, ORIGIN, approved_digest, queue_all
from sqlalchemy import update

from newsletter import addresses, store
from newsletter.digests import approve, articles, compose
from newsletter.sending import claim, queue, write
from newsletter.store.letters import new_letter

LETTERS = ["confirmation", "already-confirmed", "access", "welcome", "goodbye"]


def written(session, now, **over):
    """What becomes of all rows that are queued."""
    held = claim.personal(session, "me", limit=50)
    for number in claim.sending(session):
        held += claim.digest(session, number, "me", limit=50, now=now)
    return write.mails(session, held, replace(ORIGIN, **over))


def parsed(mail):
    return message_from_bytes(mail.raw, policy=policy.default)


def part(mail, kind):
    return parsed(mail).get_body((kind,)).get_content()


@pytest.fixture
def digest_mail(engine, make_publication, make_reader, now):
    """One reader's mail of a digest, with the public ids that its links name."""
    with store.transaction(engine) as session:
        publication = make_publication(session, unsubscribe_mailto="leave@example.org")
        reader = make_reader(session, publication, "ada@example.net", name="Ada")
        queue_all(session, approved_digest(session, publication, now), now)
        mails, unwritable = written(session, now)
        assert unwritable == []
        return mails[0], reader.public_id, reader.subscriber.public_id


def test_a_digests_headers(digest_mail, now):
    """Who writes to whom, and how to leave with one click (RFC 8058 §3.1)."""
    mail, _, _ = digest_mail
    message = parsed(mail)
    assert message["From"] == "Field Notes <notes@example.org>"
    assert message["To"] == mail.recipient == "ada@example.net"
    assert message["Subject"] == "The meadow in March"
    assert message["Date"].datetime == now
    assert message["Message-ID"].endswith("@example.org>")
    assert "<field-notes.news.example.org>" in message["List-Id"]
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "<mailto:leave@example.org>" in message["List-Unsubscribe"]
    assert message["Auto-Submitted"] is None
    assert message["Consent-Log-Checkpoint"] is None
    assert mail.sender == "notes@example.org"


def test_a_digest_carries_the_checkpoint_of_its_approval(
    engine, make_publication, make_reader, now, monkeypatch
):
    """Frozen with it, in each reader's mail and in no other letter; older digests have none."""
    note = "news.example.org/consent-log\n1\nqqqq\n\n— news.example.org/consent-log zzzz\n"
    monkeypatch.setitem(FROZEN, "checkpoint", note)
    with store.transaction(engine) as session:
        publication = make_publication(session)
        reader = make_reader(session, publication, "ada@example.net")
        queue_all(session, approved_digest(session, publication, now), now)
        subscriber = reader.subscriber
        new_letter(session, "welcome", publication, subscriber, reader, now=now)
        mails, _ = written(session, now)
    found = {mail.letter: parsed(mail)["Consent-Log-Checkpoint"] for mail in mails}
    assert found.keys() == {"digest", "welcome"}
    assert found["welcome"] is None
    assert b64decode("".join(found["digest"].split())).decode() == note


def test_a_digests_links_name_their_reader(digest_mail, now):
    """The links of the text part and of List-Unsubscribe are signed, and name public ids only."""
    mail, subscription, subscriber = digest_mail
    text = part(mail, "plain")
    assert text.startswith("Hello Ada,")
    links = ORIGIN.links
    leave = text.partition("Leave: ")[2].split()[0]
    assert f"<{leave}>" in parsed(mail)["List-Unsubscribe"]
    assert links.read("unsubscribe", leave.rpartition("/")[2], now=now) == (subscription,)
    yours = text.partition("Yours: ")[2].split()[0]
    assert links.read("preferences", yours.rpartition("/")[2], now=now) == (subscriber,)


def test_the_same_row_gives_the_same_bytes(engine, make_publication, make_reader, now):
    """On each try, days later too: receivers can tell a second copy."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        reader = make_reader(session, publication, "ada@example.net")
        queue_all(session, approved_digest(session, publication, now), now)
        letter = store.LetterName.WELCOME
        new_letter(session, letter, publication, reader.subscriber, reader, now=now)
        first, _ = written(session, now)
        claim.give_back(session, [mail.claim for mail in first])
        session.expire_all()
        second, _ = written(session, now + timedelta(days=2))
        assert [mail.raw for mail in first] == [mail.raw for mail in second]
        assert len({mail.sha256 for mail in first}) == 2


@pytest.mark.parametrize("name", LETTERS)
def test_a_persons_own_letters(engine, make_publication, make_reader, now, name):
    """Each says that a machine wrote it, and ends the subscription at the reader's click."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        reader = make_reader(session, publication, "ada@example.net", name="Ada")
        letter = store.LetterName(name)
        row = new_letter(session, letter, publication, reader.subscriber, reader, now=now)
        mails, unwritable = written(session, now)
        assert unwritable == []
        message = parsed(mails[0])
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"] == row.message_id
    assert message["List-Unsubscribe"].startswith("<https://news.example.org/unsubscribe/")
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    if name == "confirmation":
        lines = part(mails[0], "plain").splitlines()
        link = next(line for line in lines if "/confirm/" in line)
        assert link.startswith("https://news.example.org/confirm/")
        token = link.rpartition("/")[2]
        assert ORIGIN.links.read("confirm", token, now=now) == (row.public_id,)
        assert "Ada" not in mails[0].raw.decode()


def test_bounces_go_to_the_envelope_sender(engine, make_publication, make_reader, now):
    """The setting, or else the publication's From address."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        make_reader(session, publication, "ada@example.net")
        queue_all(session, approved_digest(session, publication, now), now)
        mails, _ = written(session, now, envelope_sender="bounces@example.org")
        assert mails[0].sender == "bounces@example.org"


def test_a_test_mail_is_marked_and_names_nobody(engine, make_publication, now):
    """Its subject says so; its links are good and lead to nobody's data."""
    with store.transaction(engine) as session:
        draft = store.Digest(publication=make_publication(session), subject="x", created_at=now)
        session.add(draft)
        session.flush()
        queue.test(session, draft, addresses.parse("me@example.org"), now, frozen=FROZEN)
        mails, unwritable = written(session, now)
        assert unwritable == []
    message = parsed(mails[0])
    assert message["Subject"] == "[Test] The meadow in March"
    assert message["To"] == "me@example.org"
    assert message["List-Unsubscribe"] is not None


def test_one_row_that_cannot_be_written_keeps_no_other_back(
    engine, make_publication, make_reader, now
):
    """It is named with the error, and the others are written."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        for name in ("ada", "bob", "eve"):
            make_reader(session, publication, f"{name}@example.net")
        queue_all(session, approved_digest(session, publication, now), now)
        session.execute(
            update(store.Delivery)
            .where(store.Delivery.address == "bob@example.net")
            .values(address="bob@")
        )
        mails, unwritable = written(session, now)
        assert [mail.recipient for mail in mails] == ["ada@example.net", "eve@example.net"]
        assert len(unwritable) == 1


def test_rows_that_were_lost_are_not_written(engine, make_publication, make_reader, now):
    """A row with another epoch, or that was skipped meanwhile, is left out in silence."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        make_reader(session, publication, "ada@example.net")
        make_reader(session, publication, "bob@example.net")
        digest = approved_digest(session, publication, now)
        queue_all(session, digest, now)
        held = claim.digest(session, digest.id, "me", limit=2, now=now)
        session.execute(
            update(store.Delivery)
            .where(store.Delivery.id == held[0].id)
            .values(state="skipped", reason="erased")
        )
        lost = [held[0], claim.Claim(held[1].id, held[1].epoch - 1)]
        assert write.mails(session, lost, ORIGIN) == ([], [])


def test_a_digest_as_it_is_really_frozen(engine, make_publication, make_reader, now):
    """Every slot of an approved digest is filled, in both parts, with this reader's values."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        make_reader(session, publication, "ada@example.net", name="Ada <b>")
        text = "---\ntitle: The meadow\nurl: https://example.org/meadow\n---\nIt is green.\n"
        article, _ = articles.save(session, articles.read(text, origin="meadow.md"), now=now)
        digest = compose.new(
            session, publication, subject="News", intro=None, article_ids=[article.id], now=now
        )
        approve.approve(session, digest, base_url="https://news.example.org", now=now)
        queue_all(session, digest, now)
        mails, unwritable = written(session, now)
        assert unwritable == []
        tokens = list(digest.frozen["slots"].values())
    plain, html = part(mails[0], "plain"), part(mails[0], "html")
    for token in tokens:
        assert token not in plain
        assert token not in html
    assert "Ada <b>" in plain
    assert "Ada &lt;b&gt;" in html
    for page in (plain, html):
        assert "ada@example.net" in page
        assert "https://news.example.org/unsubscribe/" in page
        assert "https://news.example.org/preferences/" in page
