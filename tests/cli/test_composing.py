"""digest new, digest edit and plan, as an operator types them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from commandline import Home
from operating import rows
from sqlalchemy import text
from website import Website, website

HUGE = str(2**63)
MONDAY = "weekly, Monday 08:00 Europe/Berlin"


@pytest.fixture
def desk(home: Home) -> Home:
    """An installation with the publication field-notes and four articles."""
    home.publish()
    for number, (title, tag) in enumerate(
        [("Swifts", "birds"), ("Bread", "kitchen"), ("Rye", "kitchen"), ("Owls", "birds")], 1
    ):
        home.write(
            f"{number}.md",
            f"---\ntitle: {title}\nurl: https://example.org/{number}\ntags: [{tag}]\n---\nText.\n",
        )
        home.run("article", "add", home.folder / f"{number}.md")
    return home


def new(home: Home, *words: object, code: int = 0) -> Any:
    return home.run("digest", "new", "--publication", "field-notes", *words, code=code)


def pieces(home: Home, digest: int = 1) -> list[tuple[int, str | None, str, bool]]:
    found = home.json("digest", "show", digest)["articles"]
    return [(each["id"], each["section"], each["length"], each["lead"]) for each in found]


def test_sections_lead_and_lengths(desk: Home) -> None:
    """In the order in which they are written; the id is the last word."""
    options = ("--section", "From the kitchen", "2, 3", "--lead", 4, "--full", "3,4")
    said = new(desk, 1, 4, *options, "--outro", "Bye.", "--subject", "March")
    assert said.stdout.split()[-1] == "1"
    assert pieces(desk) == [
        (4, None, "full", True),
        (1, None, "teaser", False),
        (2, "From the kitchen", "teaser", False),
        (3, "From the kitchen", "full", False),
    ]
    found = desk.json("digest", "show", 1)
    assert (found["outro"], found["subject"]) == ("Bye.", "March")
    shown = desk.run("digest", "show", 1).stdout
    assert "From the kitchen" in shown
    assert "Owls, Swifts and 2 more" in shown


def test_what_is_new(desk: Home) -> None:
    """--since last takes what stood in no other digest, and says when there is nothing."""
    said = new(desk, "--since", "last", "--tag", "kitchen", "--max", 1)
    assert "Subject: Rye" in said.stdout
    assert "1 more would fit" in said.stderr
    said = new(desk, 4)
    desk.run("digest", "cancel", 2)
    new(desk, "--since", "2020-01-01", "--group-by", "tag", "--lead", "auto")
    assert pieces(desk, 3) == [
        (4, None, "teaser", True),
        (1, "birds", "teaser", False),
        (2, "kitchen", "teaser", False),
    ]
    nothing = new(desk, "--since", "last", code=1)
    assert "none that is new" in nothing.stderr


def test_an_article_again(desk: Home) -> None:
    """It is an operator's word, and they are told."""
    new(desk, 1)
    said = new(desk, 1, 2)
    assert "article 1 is in digest 1 too" in said.stderr
    assert said.stdout.split()[-1] == "2"


def test_a_draft_is_edited(desk: Home) -> None:
    """Only what is named; --since adds, ids are all that stays."""
    new(desk, 1, 2, "--intro", "Hello.")
    desk.run("digest", "edit", 1, "--section", "Kitchen", "2", "--subject", "Mine")
    assert pieces(desk) == [(1, None, "teaser", False), (2, "Kitchen", "teaser", False)]
    desk.run("digest", "edit", 1, "--since", "last", "--tag", "birds")
    assert [each[0] for each in pieces(desk)] == [1, 4, 2]
    desk.run("digest", "edit", 1, 2, 1, "--intro", "", "--subject", "", "--length", "full")
    assert pieces(desk) == [(1, None, "full", False), (2, "Kitchen", "full", False)]
    found = desk.json("digest", "edit", 1, "--group-by", "tag", "--preheader", "Look!")
    assert (found["intro"], found["subject"], found["preheader"]) == (
        None,
        "Swifts and Bread",
        "Look!",
    )
    assert [each[1] for each in pieces(desk)] == ["birds", "kitchen"]
    assert "Name what to change" in desk.run("digest", "edit", 1, code=2).stderr
    desk.run("digest", "cancel", 1)
    assert "only a draft" in desk.run("digest", "edit", 1, 2, code=1).stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "--since last"),
        (("--max", "3", "--section", "A", "x"), 2, "list of articles"),
        ((1, "--lead", "first"), 2, "auto or none"),
        ((1, "--lead", 2), 1, "Article 2 is not one"),
        (("--since", "monday"), 2, "neither 'last' nor a day"),
        ((1, 9), 1, "no article 9"),
        ((1, "--subject", "x" * 300), 1, "longer than 200"),
        (("--feed", 7), 1, "There is no feed 7"),
        (("--section", "A", ""), 2, "--since last"),
        (("--since", "9999-12-31T23:59-10:00"), 2, "neither 'last' nor a day"),
        (("--since", "0001-01-01T00:00+10:00"), 2, "neither 'last' nor a day"),
        (("--since", "0001-01-01T00:00Z", "--tag", "none"), 1, "no such article"),
        (("--feed", HUGE), 2, "not in the range"),
        (("--section", "A", HUGE), 2, "not in the range"),
        ((1, "--lead", HUGE), 2, "not in the range"),
        ((1, "--full", HUGE), 2, "not in the range"),
        ((HUGE,), 2, "not in the range"),
    ],
)
def test_what_is_written_wrongly(
    desk: Home, words: tuple[object, ...], code: int, told: str
) -> None:
    """It is refused with the words that help, and nothing is composed."""
    assert told in new(desk, *words, code=code).stderr
    assert desk.json("digest", "list") == []


def test_a_plan_from_its_making_to_its_end(desk: Home) -> None:
    """Added, looked at, tried, carried out by hand, changed, held, removed."""
    words = ("--publication", "field-notes", "--when", MONDAY, "--min", 3, "--tag", "birds")
    said = desk.run("plan", "add", *words, "--tag", "kitchen", "--group-by", "tag", "--draft")
    assert said.stdout.split()[-1] == "1"
    assert MONDAY in said.stdout
    (listed,) = desk.json("plan", "list")
    expected = {"id": 1, "schedule": MONDAY, "min": 3, "max": 20, "sends": False, "group_by": "tag"}
    assert {name: listed[name] for name in expected} == expected
    assert datetime.fromisoformat(listed["next_at"]).weekday() == 0
    assert [each["id"] for each in desk.json("plan", "run", 1, "--dry-run")["articles"]] == [
        4,
        3,
        2,
        1,
    ]
    assert desk.json("digest", "list") == []
    assert desk.run("plan", "run", 1).stdout.split()[-1] == "1"
    assert [each[1] for each in pieces(desk)] == ["birds", "birds", "kitchen", "kitchen"]
    assert desk.json("digest", "show", 1)["plan"] == 1
    again = desk.json("plan", "run", 1)
    assert (again["result"], again["digest"], again["new"]) == ("waiting", None, 0)
    assert "nothing is new" in desk.run("plan", "run", 1).stdout
    assert desk.json("plan", "list")[0]["next_at"] == listed["next_at"]
    changed = desk.json(
        "plan", "edit", 1, "--when", "daily 07:30 UTC", "--tag", "", "--lead", "auto"
    )
    assert (changed["schedule"], changed["tags"], changed["lead"]) == ("daily, 07:30 UTC", [], True)
    assert "off" in desk.run("plan", "edit", 1, "--off").stdout
    assert desk.json("plan", "list")[0]["next_at"] is None
    assert "Name what to change" in desk.run("plan", "edit", 1, code=2).stderr
    desk.run("plan", "remove", 1)
    assert desk.json("plan", "list") == []
    assert "plan list" in desk.run("plan", "run", 1, code=1).stderr


def test_a_plan_that_sends(desk: Home) -> None:
    """Carried out by hand it is approved, and a worker is to send it at once."""
    words = ("--publication", "field-notes", "--when", MONDAY, "--send")
    desk.run("plan", "add", *words, "--subject", "Field notes, {date}", "--outro", "Bye.")
    done = desk.json("plan", "run", 1)
    assert (done["state"], done["problem"]) == ("approved", None)
    found = desk.json("digest", "show", 1)
    assert found["send_at"] == found["approved_at"]
    assert found["subject"].startswith("Field notes, ")
    desk.run("plan", "edit", 1, "--subject", "Re: {lead}")
    home_article = desk.write("5.md", "---\ntitle: Oats\n---\nOats.\n")
    desk.run("article", "add", home_article)
    said = desk.run("plan", "run", 1, code=8)
    assert "not approved" in said.stderr
    assert "newsletter digest approve 2 --force subject-fake-reply" in said.stderr
    assert desk.json("digest", "show", 2)["state"] == "draft"
    assert desk.json("plan", "list")[0]["waiting"] == [2]
    again = desk.run("plan", "run", 1, code=8)
    assert "digest 2 is a draft still" in again.stderr
    assert "digest 2 is a draft still" in desk.run("plan", "list").stdout
    desk.run("digest", "approve", 2, "--force", "subject-fake-reply")
    assert desk.json("plan", "list")[0]["waiting"] == []
    desk.run("plan", "run", 1)
    assert desk.json("plan", "list")[0]["outcome"] == "nothing new"


@pytest.mark.parametrize(
    "command",
    [
        "digest show", "digest check", "digest preview", "digest edit", "digest approve",
        "digest cancel", "article show", "article remove", "plan run", "plan edit", "plan remove",
        "feed fetch", "feed remove", "status", "send", "pause", "deliveries",
    ],
)  # fmt: skip
def test_a_number_that_no_row_can_have(home: Home, command: str) -> None:
    """It is refused as what it is, wherever a command takes one."""
    more = ("--out", home.folder) if command == "digest preview" else ()
    assert "not in the range" in home.run(*command.split(), HUGE, *more, code=2).stderr


@pytest.mark.parametrize(
    "when", ["0001-01-01 00:00", "0001-01-01T00:00+10:00", "9999-12-31T23:59-10:00"]
)
def test_a_time_beyond_the_calendar(home: Home, when: str) -> None:
    """It is no time to send at."""
    assert "is not a time such as" in home.run("send", 1, "--at", when, code=2).stderr


def test_more_than_a_plan_can_have(desk: Home) -> None:
    """The message names the option."""
    words = ("plan", "add", "--publication", "field-notes", "--when", MONDAY)
    assert "--min is a number" in desk.run(*words, "--min", 300, code=1).stderr
    assert "--min 9 is more than --max 3" in desk.run(*words, "--min", 9, "--max", 3, code=1).stderr


def test_an_article_of_a_draft(desk: Home) -> None:
    """It cannot be removed, and the message says how the draft can lose it."""
    new(desk, 1, 2)
    assert "newsletter digest edit 1" in desk.run("article", "remove", 1, code=1).stderr
    desk.run("digest", "edit", 1, 2)
    desk.run("article", "remove", 1)


def test_addresses_that_are_relative_to_nothing(desk: Home) -> None:
    """Without a url they are left out, and that is told; with one they are not."""
    text = "# Oats\n\n![Oats](oats.png) and [more](more.html), <img src=/a.png>, [x](#x).\n"
    said = desk.run("article", "add", desk.write("oats.md", text)).stderr
    assert "left out, since the article has no url" in said
    assert "oats.png, more.html, /a.png. Give it one" in said
    whole = f"---\nurl: https://example.org/oats\n---\n{text}"
    assert desk.run("article", "add", desk.write("oats.md", whole)).stderr == ""


def test_a_schedule_that_is_none(desk: Home) -> None:
    """The examples are in the message."""
    words = ("--publication", "field-notes", "--when", "every monday")
    assert MONDAY in desk.run("plan", "add", *words, code=1).stderr


@pytest.fixture
def site() -> Iterator[Website]:
    with website() as running:
        yield running


def test_by_hand_the_feeds_are_read_too(desk: Home, site: Website) -> None:
    """And what went wrong with one of them is told."""
    desk.set(fetch_networks=["127.0.0.1/32"])
    item = "<item><title>{0}</title><link>https://n.example/{0}</link></item>"
    for name in ("good", "bad"):
        site.put(f"/{name}", f"<rss><channel><title>{name}</title></channel></rss>")
        desk.run("feed", "add", f"{site.url}/{name}", "--publication", "field-notes")
    desk.run(
        "plan", "add", "--publication", "field-notes", "--when", MONDAY, "--feed", 1, "--feed", 2
    )
    site.put("/good", f"<rss><channel><title>x</title>{item.format('Hens')}</channel></rss>")
    site.fail("/bad", 500)
    with rows(desk) as engine, engine.begin() as connection:
        connection.execute(text("UPDATE feed SET checked_at = NULL, created_at = '2026-01-01'"))
    said = desk.run("plan", "run", 1)
    assert "Note: feed 2" in said.stderr
    assert "Subject: Hens" in said.stdout
    assert "Plan 1 takes" in desk.run("feed", "remove", 1, code=1).stderr
    assert desk.json("plan", "edit", 1, "--feed", 0)["feeds"] == []


def test_a_restored_backup_switches_plans_off(desk: Home) -> None:
    """What they composed since is not known: they wait for an operator's word."""
    desk.bring_in("ada@example.net")
    desk.run("plan", "add", "--publication", "field-notes", "--when", MONDAY)
    copy = desk.folder / "copy.db"
    desk.run("backup", copy)
    desk.run("subscriber", "unsubscribe", "ada@example.net", "--yes")
    for end in ("", "-wal", "-shm"):
        Path(f"{desk.database}{end}").unlink(missing_ok=True)
    shutil.copy(copy, desk.database)
    said = desk.run("recover", "--yes").stdout
    assert "Plan 1 is off" in said
    assert "newsletter plan edit 1 --on" in said
    assert desk.json("plan", "list")[0]["next_at"] is None
    desk.run("plan", "edit", 1, "--on")
    assert desk.json("plan", "run", 1, "--dry-run")["articles"] == []
