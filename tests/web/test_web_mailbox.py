"""The mailbox of the demo: it shows mails, and trusts none of them."""

from __future__ import annotations

from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from newsletter.web.mailbox import mailbox_app


def _mail(folder: Path, name: str, subject: str, html: str = "<p>Hi</p>") -> None:
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = "Field Notes <notes@example.org>"
    message["To"] = "ada@example.net"
    message["Subject"] = subject
    message["List-Unsubscribe"] = "<https://news.example.org/unsubscribe/a.b-c_d>"
    message.set_content("Hello <b>\n\nhttps://news.example.org/confirm/a.b-c_d\n\nBye.\n")
    message.add_alternative(f"<html><head></head><body>{html}</body></html>", subtype="html")
    (folder / name).write_bytes(message.as_bytes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two mails, beside a file that is nobody's business."""
    folder = tmp_path / "mailbox"
    folder.mkdir()
    _mail(folder, "000001.eml", "First")
    _mail(folder, "000002.eml", "<script>alert(1)</script>", "<script>alert(2)</script>")
    (tmp_path / "secret.eml").write_text("Subject: secret\n\nsecret\n")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.eml").symlink_to(tmp_path / "secret.eml")
    return folder


@pytest.fixture
def browser(folder: Path) -> FlaskClient:
    """A browser on the mailbox of the folder."""
    return mailbox_app(folder).test_client(use_cookies=False)


def test_the_newest_mail_is_first(browser: FlaskClient) -> None:
    """Subject and receiver of each, as text."""
    text = browser.get("/").text
    assert text.index("000002.eml") < text.index("000001.eml")
    assert "&lt;script&gt;alert(1)" in text
    assert "<script" not in text
    assert "2 mails were received here" in text
    assert "link.eml" not in text


def test_a_mail_is_shown_in_three_ways(browser: FlaskClient) -> None:
    """As it looks, as text with links to follow, and as it was received."""
    page = browser.get("/mail/000001.eml").text
    assert 'src="/mail/000001.eml/frame"' in page
    assert 'sandbox="allow-popups' in page
    text = browser.get("/mail/000001.eml/text").text
    assert 'href="https://news.example.org/confirm/a.b-c_d"' in text
    assert "Hello &lt;b&gt;" in text
    source = browser.get("/mail/000001.eml/source").text
    assert "Content-Type: multipart/alternative" in source
    assert "List-Unsubscribe: &lt;https://" in source


def test_a_mails_html_cannot_act(browser: FlaskClient) -> None:
    """It is given out under a policy of its own: no script, no form, nobody else's frame."""
    answer = browser.get("/mail/000002.eml/frame")
    directives = answer.headers["Content-Security-Policy"].split("; ")
    assert "default-src 'none'" in directives
    assert "form-action 'none'" in directives
    assert "frame-ancestors 'self'" in directives
    assert any(each.startswith("sandbox") for each in directives)
    assert not any("allow-scripts" in each or "script-src" in each for each in directives)
    assert '<head><base target="_blank">' in answer.text


def test_nothing_outside_of_the_folder_is_shown(browser: FlaskClient) -> None:
    """No way up, no other file, no link that leads out."""
    for name in (
        "../secret.eml",
        "..%2fsecret.eml",
        "%2e%2e/secret.eml",
        "..\\secret.eml",
        "/etc/passwd",
        "link.eml",
        "secret.txt",
        "missing.eml",
        ".eml",
        "000001.eml%00",
    ):
        for end in ("", "/text", "/source", "/html", "/frame"):
            answer = browser.get(f"/mail/{name}{end}")
            assert answer.status_code in (404, 308), name
            assert "secret\n" not in answer.text


def test_a_strange_mail_is_shown_all_the_same(folder: Path, browser: FlaskClient) -> None:
    """What cannot be parsed, or has no parts, is still in the list and has a source."""
    (folder / "000003.eml").write_bytes(b"\xff\xfe no header at all\r\n\r\n\x00")
    (folder / "000004.eml").write_bytes(b"Subject: =?utf-8?q?=ff?=\r\nTo: <>,,\r\n\r\nhi\r\n")
    (folder / "000005.eml").write_bytes(
        b"Content-Type: text/html; charset=nonsense\r\nSubject: x\r\n\r\n<p>hi\r\n"
    )
    (folder / "000006.eml").write_bytes(b"")
    assert browser.get("/").status_code == 200
    for number in (3, 4, 5, 6):
        for end in ("", "/text", "/source", "/html"):
            assert browser.get(f"/mail/00000{number}.eml{end}").status_code == 200
