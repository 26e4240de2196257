"""`feed` and `article add` against a real website: what comes in, what is refused, what is said."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline import Home
from website import Website, website

SHAPES = Path(__file__).parent.parent / "digests" / "feeds"
FEED = "<rss><channel><title>Notes</title><link>https://notes.example/</link>{}</channel></rss>"
ITEM = (
    "<item><guid>{0}</guid><title>{1}</title><link>https://notes.example/{0}</link>"
    "<description>Words.</description></item>"
)


def feed(*titles: str) -> str:
    return FEED.format("".join(ITEM.format(n, title) for n, title in enumerate(titles)))


@pytest.fixture
def site() -> Iterator[Website]:
    with website() as running:
        yield running


@pytest.fixture
def house(home: Home) -> Home:
    """An installation with a publication, which may read from loopback."""
    home.publish()
    home.set(fetch_networks=["127.0.0.0/8"])
    return home


def add(house: Home, url: str, code: int = 0) -> str:
    result = house.run("feed", "add", url, "--publication", "field-notes", code=code)
    return result.output if code == 0 else result.stderr


def test_a_feed_from_its_address_to_a_digest(house: Home, site: Website) -> None:
    """Added, its articles are there; asked again, only what changed is told; then they are sent."""
    url = site.put("/feed", feed("One", "Two"), ETag='"1"')
    assert add(house, url).splitlines()[0] == "Notes: 2 entries, 2 of them without a date; 2 new"
    assert "No feed is due" in house.run("feed", "fetch").stderr
    assert house.run("feed", "fetch", "--all").output == "1 Notes: nothing new\n"
    assert site.asked[-1][1]["If-None-Match"] == '"1"'
    site.put("/feed", feed("One", "Two, mended", "Three"), ETag='"2"')
    assert house.run("feed", "fetch", "1").output == "1 Notes: 1 new, 1 updated\n"
    titles = [each["title"] for each in house.json("article", "list")]
    assert titles == ["Three", "One", "Two, mended"]
    house.run("digest", "new", "--publication", "field-notes", "--subject", "X", 1, 2, 3)
    house.run("digest", "preview", 1, "--out", house.folder / "out")
    written = next((house.folder / "out").glob("*.html")).read_text()
    assert "Two, mended" in written
    house.run("digest", "approve", 1)
    site.put("/feed", feed("One, too late"))
    assert house.run("feed", "fetch", "--all").output == "1 Notes: 1 frozen\n"
    assert house.run("feed", "remove", 1).output == "Removed the feed 1\n"
    assert len(house.json("article", "list")) == 3
    assert "no feed 1" in house.run("feed", "remove", 1, code=1).stderr


def test_entries_without_a_date_are_told(house: Home, site: Website) -> None:
    """Nobody knows whether they are new: --since never takes them, and whoever adds it hears so."""
    dated = feed("One", "Two").replace("</item>", "<pubDate>{}</pubDate></item>", 1)
    url = site.put("/feed", dated.format("Sun, 01 Mar 2026 08:00:00 GMT"))
    result = house.run("feed", "add", url, "--publication", "field-notes")
    assert result.stdout == (
        "Notes: 2 entries, 1 of them without a date; 2 new\nAdded the feed 1\n"
    )
    assert "plans and --since with a day choose none" in result.stderr
    house.run("digest", "new", "--publication", "field-notes", "--since", "2020-01-01")
    assert [each["title"] for each in house.json("digest", "show", 1)["articles"]] == ["One"]
    site.put("/other", feed("One").replace("</item>", "<pubDate>2026-03-01</pubDate></item>"))
    result = house.run("feed", "add", f"{site.url}/other", "--publication", "field-notes")
    assert result.stdout.startswith("Notes: 1 entry; ")
    assert result.stderr == ""


def test_every_shape_becomes_a_digest(house: Home, site: Website) -> None:
    """All articles of a feed of each kind, whole, in one digest that can be looked at and sent."""
    for path in sorted(SHAPES.iterdir()):
        url = site.put(f"/{path.name}", path.read_bytes())
        made = house.json("feed", "add", url, "--publication", "field-notes")
        assert made["tally"]["new"] >= 1, path.name
    numbers = [each["id"] for each in house.json("article", "list")]
    options = ("--publication", "field-notes", "--subject", "X", "--length", "full")
    house.run("digest", "new", *options, *numbers)
    house.run("digest", "approve", 1)
    assert len(house.json("digest", "show", 1)["articles"]) == len(numbers) >= 20


def test_json_for_programs(house: Home, site: Website) -> None:
    """The keys are stable; a feed's problem is there and the exit code says so."""
    url = site.put("/feed", feed("One"))
    made = house.json("feed", "add", url, "--publication", "field-notes")
    assert (made["id"], made["publication"], made["title"]) == (1, "field-notes", "Notes")
    assert made["tally"] == {
        "new": 1, "updated": 0, "same": 0, "frozen": 0, "removed": 0, "unusable": 0
    }  # fmt: skip
    assert (made["entries"], made["undated"]) == (1, 1)
    second = site.put("/other", feed("Two"))
    house.run("feed", "add", second, "--publication", "field-notes")
    site.fail("/feed", 503, Retry_After="86400")
    told = house.json("feed", "fetch", "--all", code=1)
    assert [each["id"] for each in told] == [1, 2]
    assert (told[0]["tally"], told[1]["tally"]["same"]) == (None, 1)
    assert "503" in told[0]["problem"]
    (listed, _) = house.json("feed", "list", "--publication", "field-notes")
    assert "503" in listed["problem"]
    assert listed["failures"] == 1


def test_a_page_that_names_its_feed(house: Home, site: Website) -> None:
    """The page's address is enough; what is neither is told."""
    site.put("/feed.xml", feed("One"))
    link = '<link rel="alternate" type="application/rss+xml" href="/feed.xml">'
    page = site.put("/", f"<!doctype html><title>x</title>{link}", "text/html")
    assert add(house, page).startswith("Notes: 1 entry, 1 of them without a date; 1 new\n")
    assert house.json("feed", "list")[0]["url"] == f"{site.url}/feed.xml"
    assert "read for field-notes already" in add(house, page, code=1)
    plain = site.put("/plain", "<title>x</title>", "text/html")
    assert "neither RSS nor Atom nor JSON Feed" in add(house, plain, code=1)
    assert "answered 404" in add(house, f"{site.url}/nothing", code=1)
    assert len(house.json("feed", "list")) == 1


def test_where_a_feed_moved_and_where_it_is_gone(house: Home, site: Website) -> None:
    """Moved for good, the new address is kept; gone for good, it is not asked any more."""
    url = site.put("/feed", feed("One"))
    add(house, url)
    site.put("/new", feed("One", "Two"))
    site.fail("/feed", 302, Location="/new")
    house.run("feed", "fetch", "--all")
    assert house.json("feed", "list")[0]["url"] == url
    site.fail("/feed", 301, Location="/new")
    house.run("feed", "fetch", "--all")
    assert house.json("feed", "list")[0]["url"] == f"{site.url}/new"
    site.fail("/new", 410)
    house.run("feed", "fetch", "--all", code=1)
    assert house.json("feed", "list")[0]["due_at"] is None


def test_without_the_setting_nothing_inside_is_asked(home: Home, site: Website) -> None:
    """Loopback and private addresses, for feeds and pages, spelt in any way: no connection."""
    home.publish()
    site.put("/feed", feed("One"))
    port = site.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "[::1]", "0x7f000001", "[::ffff:127.0.0.1]",
                 "169.254.169.254", "10.0.0.1", "192.168.0.1"):  # fmt: skip
        url = f"http://{host}:{port}/feed"
        for said in (add(home, url, code=1), home.run("article", "add", url, code=1).stderr):
            assert "not on the public internet, and the setting fetch_networks does not" in said
    assert site.asked == []
    for url in ("file:///etc/passwd", "ftp://a.example/feed", "http://u:p@a.example/"):
        assert "address" in add(home, url, code=1)


def test_the_case_of_a_scheme_is_no_matter(house: Home, site: Website) -> None:
    """HTTP://… is an address, and no file of that name."""
    url = site.put("/page", "<title>The page</title>", "text/html")
    assert "The page" in house.run("article", "add", url.replace("http://", "HTTP://")).stdout


def test_a_redirect_does_not_lead_inside(home: Home, site: Website) -> None:
    """The one address that is allowed sends us to another that is not: refused, and not asked."""
    home.publish()
    home.set(fetch_networks=["127.0.0.1/32"])
    port = site.url.rpartition(":")[2]
    for target in (f"http://127.0.0.2:{port}/x", f"http://[::1]:{port}/x", "http://10.0.0.1/"):
        url = site.fail("/feed", 302, Location=target)
        assert "not on the public internet" in add(home, url, code=1)
    assert {path for path, _ in site.asked} == {"/feed"}


def test_what_is_too_large_or_too_slow(house: Home, site: Website) -> None:
    """Fifty megabytes, plain and packed, end at the limit; the feed has its problem, not we."""
    add(house, site.put("/feed", feed("One")))
    site.put("/feed", b" " * 50_000_000)
    assert "larger than 5,000,000 bytes" in house.run("feed", "fetch", "1", code=1).output
    site.put("/feed", gzip.compress(b" " * 50_000_000), Content_Encoding="gzip")
    assert "larger than 5,000,000 bytes" in house.run("feed", "fetch", "1", code=1).output
    assert house.json("feed", "list")[0]["failures"] == 2
    house.set(feed_max_entries=3)
    site.put("/feed", feed(*(f"Title {n}" for n in range(50_000))))
    house.set(fetch_max_bytes=20_000_000)
    assert "2 new" in house.run("feed", "fetch", "1").output
    assert house.json("feed", "list")[0]["failures"] == 0


def test_what_a_stranger_wrote_does_not_move_the_cursor(house: Home, site: Website) -> None:
    """Titles of feeds and answers of servers are shown without control characters."""
    url = site.put("/feed", feed("One").replace("Notes", "No&#27;[31m&#8238;tes"))
    assert "No[31mtes: 1 entry" in add(house, url)
    assert "\x1b" not in house.run("feed", "list").output


def test_a_web_page_becomes_a_teaser(house: Home, site: Website) -> None:
    """By its address: what it says of itself, and a link to it; a feed or nothing is told."""
    page = (
        "<html lang=en><title>Swifts</title><meta property=og:description content='They are back.'>"
        "<meta property=og:image content=/s.jpg><meta name=author content=Ada>"
    )
    url = site.put("/swifts", page, "text/html; charset=utf-8")
    assert house.run("article", "add", url).output == "new: Swifts 1\n"
    (found,) = house.json("article", "list")
    assert {name: found[name] for name in ("url", "summary", "image", "author", "origin")} == {
        "url": url,
        "summary": "They are back.",
        "image": f"{site.url}/s.jpg",
        "author": "Ada",
        "origin": "page",
    }
    assert house.run("article", "add", url).output == "same: Swifts 1\n"
    text = site.put("/text.md", "# From the web\n\nWords.", "text/markdown")
    assert house.run("article", "add", text).output == "new: From the web 2\n"
    other = site.put("/feed", feed("One"), "application/rss+xml")
    assert "newsletter feed add" in house.run("article", "add", other, code=1).stderr
    empty = site.put("/empty", "<p>words", "text/html")
    assert "as a file" in house.run("article", "add", empty, code=1).stderr


def test_toml_in_front_of_an_article(house: Home) -> None:
    """Front matter between lines of +++ is TOML."""
    text = '+++\ntitle = "T"\npublished = 2026-03-01\nimage_width = 800\ntags = ["a"]\n+++\nWords.'
    house.run("article", "add", house.write("a.md", text))
    (found,) = house.json("article", "list")
    assert (found["title"], found["tags"], found["image_width"]) == ("T", ["a"], 800)
