"""digest check, and the gate before approving and sending."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from commandline import Home
from website import Page, website

from newsletter.digests import check
from newsletter.mail.sink import Sink

GOOD = """---
title: Harvest
url: https://example.org/harvest
summary: What grew this year, and what the deer had of it.
---
The *whole* story.
"""
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def draft(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A draft (1) of one article."""
    monkeypatch.setenv("NEWSLETTER_BASE_URL", "https://news.example.org")
    home.publish()
    home.run("article", "add", home.write("harvest.md", GOOD))
    words = ("--publication", "field-notes", "--subject", "Harvest time")
    home.run("digest", "new", *words, "--intro", "Dear readers, here it is.", 1)
    return home


@pytest.fixture
def broken(draft: Home) -> Home:
    """Templates without a link to unsubscribe in the text part."""
    folder = draft.folder / "templates" / "_layout"
    folder.mkdir(parents=True)
    (folder / "reader.txt").write_text("You receive this mail because you asked for it.\n")
    draft.set(templates_folder="templates")
    return draft


def test_a_good_digest(draft: Home) -> None:
    """Exit code 0, one line with the sizes and how old the table is; the same as JSON."""
    result = draft.run("digest", "check", 1)
    (line,) = result.stdout.splitlines()
    assert line.startswith("Digest 1 is fit to be sent: no errors, no warnings. HTML ")
    assert "2026-" in line
    found = draft.json("digest", "check", 1)
    assert found["fit"] is True
    assert found["findings"] == []
    assert found["sizes"].keys() == {"mail", "html", "style", "text"}
    draft.run("digest", "check", 9, code=1)


def test_a_bad_digest(broken: Home) -> None:
    """Exit code 8; each finding says its name, where it is and how to mend it."""
    result = broken.run("digest", "check", 1, code=8)
    assert "Error unsubscribe-link: There is no link to unsubscribe.\n    text\n" in result.stdout
    assert "    Mend it: " in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Digest 1 is not fit to be sent: 1 error")
    found = broken.json("digest", "check", 1, code=8)
    assert found["fit"] is False
    assert found["errors"] == 1
    (error,) = [each for each in found["findings"] if each["level"] == "error"]
    assert error.keys() == {
        *("name", "level", "says", "part", "line", "article", "excerpt", "detail", "mend")
    }
    assert (error["name"], error["part"]) == ("unsubscribe-link", "text")


def test_an_error_stops_the_approval(broken: Home) -> None:
    """It stays a draft; --force NAME lets this one pass, and no other."""
    result = broken.run("digest", "approve", 1, code=8)
    assert "Error unsubscribe-link" in result.stderr
    assert "--force unsubscribe-link" in result.stderr
    assert broken.json("digest", "show", 1)["state"] == "draft"
    broken.run("digest", "approve", 1, "--force", "html-cut", code=8)
    broken.run("digest", "approve", 1, "--force", "html-cut", "--force", "unsubscribe-link")
    assert broken.json("digest", "show", 1)["state"] == "approved"


def test_an_error_stops_the_sending(broken: Home, sink: Sink) -> None:
    """Of what was approved with force, and of what went wrong since: nothing is begun."""
    broken.set(smtp_url=sink.url)
    broken.bring_in("ada@example.net")
    broken.run("digest", "approve", 1, "--force", "unsubscribe-link")
    for more in ((), ("--queue",), ("--at", "2099-01-01 08:00")):
        assert "Error unsubscribe-link" in broken.run("send", 1, *more, code=8).stderr
    assert "Error unsubscribe-link" in broken.run("send", 1, "--dry-run").stderr
    assert broken.json("digest", "show", 1)["state"] == "approved"
    assert sink.received == []
    broken.run("send", 1, "--force", "unsubscribe-link")
    assert len(sink.received) == 1
    broken.run("send", 1)  # one that has begun goes on


def test_warnings_stop_nothing(draft: Home) -> None:
    """They are shown on standard error, and that is all."""
    draft.run("digest", "edit", 1, "--subject", "HARVEST TIME AT LAST")
    found = draft.json("digest", "check", 1)
    assert found["fit"] is True
    assert [each["name"] for each in found["findings"]] == ["subject-capitals"]
    assert "Warning subject-capitals" in draft.run("digest", "approve", 1).stderr


def test_force_knows_the_names(draft: Home) -> None:
    """A name that is none is a mistake in the command, with the nearest one."""
    result = draft.run("digest", "approve", 1, "--force", "html-cutt", code=2)
    assert "did you mean html-cut?" in result.stderr


def test_online(draft: Home) -> None:
    """Each address is asked once, by HEAD or where that fails by GET; gone is an error."""
    with website() as site:
        site.put("/here", "Words", "text/html")
        site.put("/privacy", "Words", "text/html")
        draft.run("publication", "edit", "field-notes", "--privacy-url", f"{site.url}/privacy")
        site.pages["/gone"] = Page(status=410)
        site.pages["/broken"] = Page(status=503)
        links = " ".join(f"[{each}]({site.url}/{each})" for each in ("here", "gone", "broken"))
        draft.run("article", "add", draft.write("links.md", f"# Links\n\n{links}, and more.\n"))
        words = ("--publication", "field-notes", "--subject", "Links", "--length", "full")
        draft.run("digest", "new", *words, 2)
        assert "link-dead" not in {e["name"] for e in draft.json("digest", "check", 2)["findings"]}
        refused = draft.json("digest", "check", 2, "--online")
        assert site.asked == []  # a private address is not asked unless the settings allow it
        assert "not on the public internet" in str(refused["findings"])
        draft.set(fetch_networks=["127.0.0.1/32"])
        found = draft.json("digest", "check", 2, "--online", code=8)["findings"]
        said = {each["name"]: each["excerpt"] for each in found if each["name"] != "link-local"}
        assert said["link-dead"].endswith("/gone")
        assert {each["detail"] for each in found if each["excerpt"].endswith("/broken")} == {
            "It answers 503."
        }
        asked = [path for path, _ in site.asked]
        assert sorted(asked) == ["/broken", "/gone", "/here", "/privacy"]


def test_all_places_of_an_error_are_shown(draft: Home) -> None:
    """Of an error all, so that one look is enough to mend it; of a warning the first five."""
    with website() as site:
        draft.set(fetch_networks=["127.0.0.1/32"])
        links = " ".join(f"[to the {n}th]({site.url}/{n})" for n in range(7))
        pictures = "\n\n".join(f"![Tree {n}](https://example.org/{n}.png)" for n in range(7))
        text = f"# Links\n\n{links}, and more.\n\n{pictures}\n"
        draft.run("article", "add", draft.write("links.md", text))
        words = ("--publication", "field-notes", "--subject", "Links", "--length", "full")
        draft.run("digest", "new", *words, 2)
        site.pages.update({f"/{n}": Page(status=410) for n in range(7)})
        told = draft.run("digest", "check", 2, "--online", code=8).stdout
    (dead,) = [part for part in told.split("Mend it") if "Error link-dead" in part]
    assert all(f"{site.url}/{n}" in dead for n in range(7))
    assert "more\n" not in dead
    (sizes,) = [part for part in told.split("Mend it") if "Warning picture-size" in part]
    assert "    and 2 more\n" in sizes


def test_approving_for_programs(broken: Home) -> None:
    """What digest check says, and the state that the digest is in; also when it is refused."""
    found = broken.json("digest", "check", 1, code=8)
    assert broken.json("digest", "approve", 1, code=8) == {**found, "state": "draft"}
    assert "--force unsubscribe-link" in broken.run("digest", "approve", 1, "--json", code=8).stderr
    told = broken.json("digest", "approve", 1, "--force", "unsubscribe-link")
    assert told.keys() == {*found, "state"}
    assert (told["fit"], told["state"]) == (False, "approved")
    assert broken.json("digest", "show", 1)["state"] == "approved"


def test_the_same_words_tomorrow(broken: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program can compare what two days said: no finding quotes the time in a signed link."""
    found = broken.json("digest", "check", 1, code=8)
    assert any("/unsubscribe/" in each["excerpt"] for each in found["findings"])
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    monkeypatch.setattr("newsletter.cli.installation.now", lambda: tomorrow)
    assert broken.json("digest", "check", 1, code=8) == found


def test_every_check_is_in_the_docs() -> None:
    """Who reads --force NAME finds the names, each with its level, and no others."""
    text = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (error|warning) \|", text, re.MULTILINE))
    assert told == {name: str(rule.level) for name, rule in check.rules().items()}
