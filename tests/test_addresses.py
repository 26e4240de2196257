"""Addresses: mailed as written, the same only when they surely are, limited by mailbox."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from newsletter.addresses import MAX_LENGTH, parse
from newsletter.errors import BadInput

_ATOM = st.text(
    string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=12
)
LOCAL = st.lists(_ATOM, min_size=1, max_size=3).map(".".join)
DOMAIN = st.sampled_from(
    [
        "example.org",
        "EXAMPLE.org",
        "gmail.com",
        "GoogleMail.com",
        "stra\u00dfe.de",
        "xn--strae-oqa.de",
    ]
)
ADDRESS = st.builds("{}@{}".format, LOCAL, DOMAIN)


@given(ADDRESS)
def test_parsing_the_spelling_again_is_the_same(text: str) -> None:
    """What is stored means the same when it is read again: nothing drifts."""
    first = parse(text)
    again = parse(first.spelling)
    assert again == first
    assert parse(first.key).key == first.key


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_bad_input(text: str) -> None:
    """Whatever is typed is told kindly or accepted; an accepted one cannot break a header."""
    for candidate in (text, f"{text}@example.org", f"ada@{text}"):
        try:
            address = parse(candidate)
        except BadInput as error:
            assert error.field == "email"
            assert str(error)
            continue
        assert address.spelling.isprintable()
        assert not set(address.spelling) & set(' \t\r\n\0<>,;:"()[]\\')
        assert address.spelling.count("@") == 1
        assert parse(address.spelling) == address


@given(ADDRESS, ADDRESS)
def test_same_key_means_same_letters(one: str, other: str) -> None:
    """Two addresses are one subscriber exactly if they differ in ASCII case or domain form."""
    left, right = parse(one), parse(other)
    same = (
        left.spelling.rpartition("@")[0].lower() == right.spelling.rpartition("@")[0].lower()
        and left.domain == right.domain
    )
    assert (left.key == right.key) == same


@given(LOCAL, st.integers(min_value=0))
def test_case_of_ascii_letters_does_not_matter(local: str, seed: int) -> None:
    """Any mix of upper and lower case is the same subscriber, mailed as it was written."""
    mixed = "".join(
        letter.upper() if seed >> place & 1 else letter.lower()
        for place, letter in enumerate(local)
    )
    assert parse(f"{mixed}@example.org").key == parse(f"{local}@example.org").key
    assert parse(f"{mixed}@example.org").spelling == f"{mixed}@example.org"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mike@example.org", "m\u0131ke@example.org"),  # dotless i: upper() would make it I
        ("sam@example.org", "\u017fam@example.org"),  # long s: casefold() would make it s
        ("strasse@example.org", "stra\u00dfe@example.org"),  # sharp s: casefold() gives ss
        ("fi@example.org", "\ufb01@example.org"),  # a ligature: NFKC would take it apart
        ("apple@example.org", "\u0430pple@example.org"),  # Cyrillic a
        ("ada@example.org", "\uff41da@example.org"),  # full width: NFKC would narrow it
        ("ivy@example.org", "\u0130vy@example.org"),  # I with a dot: lower() gives two signs
        ("ada@apple.com", "ada@\u0430pple.com"),
        ("ada@strasse.de", "ada@stra\u00dfe.de"),
    ],
)
def test_look_alikes_are_other_people(one: str, other: str) -> None:
    """The Unicode case mapping attack: one person's address never gives another's key."""
    left, right = parse(one), parse(other)
    assert left.key != right.key
    assert left.mailbox != right.mailbox


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        ("Ada@Example.ORG", "ada@example.org"),
        ("  ada@example.org\u3000", "ada@example.org"),
        ("ada@b\u00fccher.example.org", "ada@xn--bcher-kva.example.org"),
        ("ada@example\u3002org", "ada@example.org"),  # the ideographic full stop of IDNA
        ("ada@\uff45xample.org", "ada@example.org"),
        ("ad\u00e1@example.org", "ada\u0301@example.org"),  # composed and not composed
        ("\u212aim@example.org", "kim@example.org"),  # NFC itself turns the Kelvin sign into K
    ],
)
def test_same_subscriber(typed: str, same: str) -> None:
    """Spellings that every mail server takes for one address are one subscriber."""
    assert parse(typed).key == parse(same).key


@pytest.mark.parametrize(
    ("address", "mailbox"),
    [
        ("ada@example.org", "ada@example.org"),
        ("ada+news@example.org", "ada@example.org"),
        ("ada+a+b@example.org", "ada@example.org"),
        ("a.d.a@example.org", "a.d.a@example.org"),
        ("a.d.a+x@gmail.com", "ada@gmail.com"),
        ("A.Da@GoogleMail.com", "ada@gmail.com"),
        ("a.da@proton.me", "ada@proton.me"),
        ("+1@gmail.com", "+1@gmail.com"),
    ],
)
def test_mailbox(address: str, mailbox: str) -> None:
    """+tags go everywhere, dots where the provider ignores them; both stay in what is mailed."""
    parsed = parse(address)
    assert parsed.mailbox == mailbox
    assert parsed.spelling.rpartition("@")[0] == address.rpartition("@")[0]


@given(ADDRESS)
def test_mailbox_of_a_mailbox(text: str) -> None:
    """Taking tags and dots away twice takes nothing more away."""
    mailbox = parse(text).mailbox
    try:
        again = parse(mailbox)
    except BadInput:
        # "a.+b" without its tag ends with a dot: good for counting, not an address.
        assume(False)
    assert again.mailbox == mailbox


def test_mailbox_hash_is_keyed() -> None:
    """Without the installation's key nobody can try a list of addresses against the hashes."""
    one, tagged = parse("ada@example.org"), parse("ADA+x@example.org")
    assert one.mailbox_hash(b"k" * 32) == tagged.mailbox_hash(b"k" * 32)
    assert one.mailbox_hash(b"k" * 32) != one.mailbox_hash(b"j" * 32)
    assert one.mailbox_hash(b"k" * 32) != parse("bob@example.org").mailbox_hash(b"k" * 32)
    assert len(one.mailbox_hash(b"k" * 32)) == 32


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ada",
        "ada@",
        "@example.org",
        "ada@localhost",
        "ada@example",
        "ada@example.test",
        "ada@[127.0.0.1]",
        '"ada lovelace"@example.org',
        "Ada <ada@example.org>",
        "ada@example.org, bob@example.org",
        "ada@example.org\r\nBcc: bob@example.org",
        "ada\0@example.org",
        "ada\u200b@example.org",
        "\u202eada@example.org",
        "a..da@example.org",
        ".ada@example.org",
        "ada@" + "x." * 130 + "org",
    ],
)
def test_refused(typed: str) -> None:
    """What no relay would take, or what could smuggle something, is refused with a sentence."""
    with pytest.raises(BadInput) as caught:
        parse(typed)
    assert caught.value.field == "email"
    assert str(caught.value).endswith(".")


def test_longest_address() -> None:
    """RFC 5321 §4.5.3.1.3: 254 octets fit, 255 do not."""
    domain = ".".join(["d" * 63, "d" * 63, "d" * 57])
    longest = "a" * (MAX_LENGTH - len(domain) - 1) + "@" + domain
    assert parse(longest).spelling == longest
    with pytest.raises(BadInput):
        parse("a" + longest)
