"""Mails written from rows: the right headers, the right links, the same bytes each time."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy

import pytest
from freezing import LOOKING, NAMED, frozen
from mailing import FROZEN, ORIGIN, approved_digest, queue_all
from sqlalchemy import update

from newsletter import addresses, store
from newsletter.digests import approve, articles, compose
from newsletter.links import Links
from newsletter.mail.frozen import FrozenLetter, greeting
from newsletter.mail.message import Headers, build, feedback_id_of
from newsletter.sending import claim, queue, write
from newsletter.store.letters import new_letter

# What a mail says does not depend on the database that its row is in.
ON_ONE = pytest.mark.parametrize("database_kind", ["sqlite"])

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
    digest, slug, kind, sender_id = message["Feedback-ID"].split(":")
    assert (len(digest), slug, kind, sender_id[:9]) == (20, "field-notes", "digest", "news-exam")
    assert message["Auto-Submitted"] is None
    assert message["Consent-Log-Checkpoint"] is None
    assert mail.sender == "notes@example.org"
    assert (mail.domain, mail.smtputf8, mail.doubt) == ("example.net", False, False)


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


@pytest.fixture
def one_row(engine, make_publication, make_reader, now):
    """A digest's only row: `one_row(session, address="ada@example.net", name="Ada")`."""

    def make(session, address="ada@example.net", *, frozen=None, publication=None, **over):
        publication = make_publication(session, **(publication or {}))
        make_reader(session, publication, address, **over)
        digest = approved_digest(session, publication, now)
        if frozen is not None:
            digest.frozen = dict(frozen)
        queue_all(session, digest, now)
        return session.query(store.Delivery).one()

    return make


def taken(session, row, writer, now):
    """The row's mail at its next try; its reason is as `again` left it."""
    session.flush()
    row = session.get(store.Delivery, row.id, populate_existing=True)
    if row.state == "queued":
        claim.digest(session, row.digest_id, "me", limit=1, now=now)
        session.refresh(row)
    made, unwritable = writer.mails(session, [claim.Claim(row.id, row.epoch)])
    assert not unwritable, unwritable
    return made[0]


def again(session, row, sha256, reason):
    """An operator wants an uncertain row sent once more."""
    session.execute(
        update(store.Delivery)
        .where(store.Delivery.id == row.id)
        .values(state="queued", reason=reason, content_sha256=sha256)
    )


@ON_ONE
@pytest.mark.parametrize("name", [None, "Ada", "Jörg <b> & Söhne = 1"])
@pytest.mark.parametrize("templates", [None, NAMED, LOOKING], ids=["installed", "named", "looking"])
def test_a_digests_mail_is_its_letter_and_its_headers(engine, one_row, now, name, templates):
    """What the writer remembers of a digest makes no difference: the bytes are those of the
    frozen letter filled in and built, also when it is rendered for each reader."""
    kept = frozen(templates=templates, checkpoint="a\nb\n")
    with store.transaction(engine) as session:
        row = one_row(
            session,
            "Ada@Example.net",
            name=name,
            frozen=kept,
            publication={"reply_to": "editor@example.org", "from_name": "Nötes"},
        )
        writer = write.Writer(replace(ORIGIN, idempotency_header="X-Relay-Key"))
        mail = taken(session, row, writer, now)
        reader, publication = session.query(store.Subscription).one(), row_publication(session)
        links = ORIGIN.links
        unsubscribe = links.url("unsubscribe", reader.public_id, at=now)
        letter = FrozenLetter(kept).fill(
            {
                "name": name or "",
                "greeting": greeting(name, "en"),
                "address": row.address,
                "unsubscribe_url": unsubscribe,
                "preferences_url": links.url("preferences", reader.subscriber.public_id, at=now),
            }
        )
        digest = session.get(store.Digest, row.digest_id)
        assert mail.raw == build(
            letter,
            Headers(
                from_name="Nötes",
                from_address=publication.from_address,
                reply_to="editor@example.org",
                to_address=row.address,
                message_id=row.message_id,
                date=row.created_at,
                list_id="field-notes.news.example.org",
                list_title=publication.title,
                list_unsubscribe_url=unsubscribe,
                feedback_id=feedback_id_of(digest.public_id, "field-notes", "news.example.org"),
                idempotency=("X-Relay-Key", row.public_id),
                checkpoint="a\nb\n",
                language="en",
                series=kept["sha256"],
            ),
        )
        assert taken(session, row, writer, now).raw == mail.raw


def row_publication(session):
    return session.query(store.Publication).one()


@ON_ONE
@pytest.mark.parametrize(
    ("address", "recipient", "domain", "smtputf8"),
    [
        ("Ada.Lovelace@Example.NET", "Ada.Lovelace@example.net", "example.net", False),
        ("ada@bücher.example", "ada@xn--bcher-kva.example", "xn--bcher-kva.example", False),
        ("jörg@Bücher.example", "jörg@xn--bcher-kva.example", "xn--bcher-kva.example", True),
    ],
)
def test_where_a_mail_goes(engine, one_row, now, address, recipient, domain, smtputf8):
    """The envelope has A-labels; SMTPUTF8 is for local parts that are not ASCII (RFC 6531)."""
    with store.transaction(engine) as session:
        row = one_row(session, address)
        mail = taken(session, row, write.Writer(ORIGIN), now)
        assert (mail.recipient, mail.domain, mail.smtputf8) == (recipient, domain, smtputf8)
        assert f"\r\nTo: {recipient}\r\n" in mail.raw.decode()
        assert mail.raw.isascii() is not smtputf8
        assert mail.mailbox_hash == addresses.parse(address).mailbox_hash(ORIGIN.hash_key)
        assert (mail.digest_id, mail.attempts, mail.created_at, mail.retried_at) == (
            row.digest_id, 0, now, None)  # fmt: skip


@ON_ONE
@pytest.mark.parametrize("field", ["from_address", "reply_to"])
def test_a_sender_can_need_smtputf8_too(engine, one_row, now, field):
    """The relay must know it for any address in the mail."""
    with store.transaction(engine) as session:
        row = one_row(session, publication={field: "nötes@exämple.org"})
        mail = taken(session, row, write.Writer(ORIGIN), now)
        assert mail.smtputf8
        if field == "from_address":
            assert mail.sender == "nötes@xn--exmple-cua.org"


@ON_ONE
def test_bounces_can_go_to_an_international_domain(engine, one_row, now):
    """MAIL FROM has A-labels."""
    with store.transaction(engine) as session:
        writer = write.Writer(replace(ORIGIN, envelope_sender="bounces@exämple.org"))
        mail = taken(session, one_row(session), writer, now)
        assert mail.sender == "bounces@xn--exmple-cua.org"
        assert not mail.smtputf8


@ON_ONE
@pytest.mark.parametrize("name", LETTERS)
def test_the_relay_knows_each_letter_again(engine, make_publication, make_reader, now, name):
    """The configured field names the delivery, in all letters; only digests count complaints."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        reader = make_reader(session, publication, "ada@example.net")
        row = new_letter(
            session, store.LetterName(name), publication, reader.subscriber, reader, now=now
        )
        mails, _ = written(session, now, idempotency_header="X-Relay-Key")
        assert parsed(mails[0])["X-Relay-Key"] == row.public_id
        assert parsed(mails[0])["Feedback-ID"] is None


@ON_ONE
def test_a_mended_publication_counts_from_the_next_batch_on(engine, one_row, now):
    """A sender that the relay refused is put right, and the digest goes on under the new one."""
    with store.transaction(engine) as session:
        row = one_row(session)
        writer = write.Writer(ORIGIN)
        assert taken(session, row, writer, now).sender == "notes@example.org"
        row_publication(session).from_address = "post@example.org"
        mail = taken(session, row, writer, now)
        assert mail.sender == "post@example.org"
        assert parsed(mail)["From"] == "Field Notes <post@example.org>"


def test_a_mail_in_doubt_is_the_same_or_does_not_go(engine, one_row, now):
    """What may have arrived is sent again byte for byte, unless the operator said otherwise."""
    with store.transaction(engine) as session:
        row = one_row(session)
        writer = write.Writer(ORIGIN)
        first = taken(session, row, writer, now)
        assert write.same_as_recorded(first)
        again(session, row, first.sha256, write.RETRY_UNCERTAIN)
        second = taken(session, row, writer, now)
        assert second.doubt and second.recorded == first.sha256
        assert write.same_as_recorded(second)
        # What is on the wire counts: a signature that was not there makes it another mail.
        second.raw = b"DKIM-Signature: v=1\r\n" + second.raw
        assert not write.same_as_recorded(second)
        assert writer.again_with_older_keys(session, second) == []
        refused = write.changed(second)
        assert (refused.claim, refused.reason) == (second.claim, "changed")
        again(session, row, bytes(32), write.RETRY_CHANGED)
        third = taken(session, row, writer, now)
        assert third.doubt and write.same_as_recorded(third)
        again(session, row, bytes(32), None)
        fourth = taken(session, row, writer, now)
        assert not fourth.doubt and write.same_as_recorded(fourth)


@ON_ONE
def test_an_older_secret_key_makes_the_same_mail_again(engine, one_row, now):
    """A key that was rotated in between signed the links of the mail that may have arrived."""
    keys = ("a" * 40, "b" * 40, "c" * 40)
    before, after = (
        write.Writer(replace(ORIGIN, links=Links(ORIGIN.links.base_url, some)))
        for some in (keys[:2], keys)
    )
    with store.transaction(engine) as session:
        row = one_row(session)
        first = taken(session, row, before, now)
        again(session, row, first.sha256, write.RETRY_UNCERTAIN)
        second = taken(session, row, after, now)
        assert not write.same_as_recorded(second)
        candidates = after.again_with_older_keys(session, second)
        assert [write.same_as_recorded(each) for each in candidates] == [True, False]
        assert candidates[0].raw == first.raw
        assert candidates[0].doubt


@ON_ONE
def test_content_that_a_newer_newsletter_froze_is_left_alone(engine, one_row, now):
    """Its rows are named with the error; another digest's are written."""
    with store.transaction(engine) as session:
        row = one_row(session, frozen={**FROZEN, "version": 3})
        again(session, row, None, None)
        mails, unwritable = written(session, now)
        assert mails == []
        assert "version 3" in str(unwritable[0].error)
        assert unwritable[0].reason == "unwritable"


@ON_ONE
def test_a_digest_without_content_is_named(engine, one_row, now):
    """A row cannot be written, which is said."""
    with store.transaction(engine) as session:
        row = one_row(session, frozen={})
        mails, unwritable = written(session, now)
        assert (mails, [each.claim.id for each in unwritable]) == ([], [row.id])


@ON_ONE
def test_a_writer_keeps_few_digests(engine, make_publication, make_reader, now):
    """More digests than it remembers, in turns: each mail has its own digest's words."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        make_reader(session, publication, "ada@example.net")
        for number in range(12):
            digest = approved_digest(session, publication, now)
            digest.frozen = {**FROZEN, "subject": f"Number {number}"}
            queue_all(session, digest, now)
        held = [claim.digest(session, number, "me", limit=1, now=now)[0]
                for number in claim.sending(session)]  # fmt: skip
        writer = write.Writer(ORIGIN)
        for _ in range(2):
            mails, unwritable = writer.mails(session, held)
            assert unwritable == []
            assert [parsed(mail)["Subject"] for mail in mails] == [
                f"Number {number}" for number in range(12)
            ]
