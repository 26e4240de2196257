"""From signing up to the preferences with a keyboard and nothing else, and without JavaScript.

Keys are pressed as a person presses them: Tab until the thing is reached, never a jump by script.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from newsletter import store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("database_kind", ["sqlite"])]

# More Tabs than any page has stops.
STOPS = 60
# What stands on the focused element, where it is, and whether one can see that it is focused.
FOCUS = """() => {
    const it = document.activeElement, style = getComputedStyle(it);
    const box = it.getBoundingClientRect();
    const over = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    return {
        id: it.id,
        words: it.innerText || it.labels?.[0]?.innerText || it.value || "",
        tag: it.localName,
        isMarked: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
        isSeen: box.bottom <= innerHeight && box.top >= 0 && (over === it || it.contains(over)),
    };
}"""


class Keys:
    """A person at a keyboard, with the page before them."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def reach(self, wanted: str, *, by: str = "words") -> dict[str, Any]:
        """Tab until the focus is on what is wanted; each stop on the way can be seen."""
        seen = []
        for _ in range(STOPS):
            self.page.keyboard.press("Tab")
            focus: dict[str, Any] = self.page.evaluate(FOCUS)
            if focus["tag"] == "body":
                continue
            seen.append(focus[by])
            assert focus["isMarked"], f"nothing shows that the focus is on {focus}"
            assert focus["isSeen"], f"what has the focus is hidden: {focus}"
            if focus[by] == wanted:
                return focus
        raise AssertionError(f"{wanted} is not among {seen}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def arrive(self, heading: str) -> None:
        self.page.wait_for_selector(f"h1:text-is({heading!r})")


@pytest.fixture
def keys(browser: Browser) -> Any:
    """A keyboard before a browser without JavaScript, on a small screen."""
    context = browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 640})
    yield Keys(context.new_page())
    context.close()


def test_signing_up_to_preferences(
    site: str,
    keys: Keys,
    publication: store.Publication,
    confirm_path: Callable[..., str],
    subscription: Callable[..., store.Subscription],
    path: Callable[..., str],
) -> None:
    """Sign up with a fault and mend it, confirm, change the language, leave: all by keyboard."""
    keys.page.goto(site)
    keys.reach("Skip to the content")
    keys.press("Enter")
    # The next stop after the skip link is the first thing of the content.
    keys.reach("email", by="id")
    keys.type("ada@example")
    keys.press("Enter")
    keys.arrive("Sign up to receive the latest updates from Field Notes")
    keys.reach("Enter an email address in the correct format, like name@example.org.")
    keys.press("Enter")
    keys.reach("email", by="id")
    keys.press("End")
    keys.type(".net")
    keys.reach("name", by="id")
    keys.type("Ada")
    keys.reach("consent", by="id")
    keys.press("Space")
    keys.reach("Sign up", by="words")
    keys.press("Enter")
    keys.arrive("Thanks for signing up!")

    keys.page.goto(site + confirm_path("ada@example.net"))
    keys.reach("Yes, confirm my subscription")
    keys.press("Space")
    keys.arrive("Your subscription is confirmed")
    ada = subscription("ada@example.net")
    assert ada.state == "confirmed"

    keys.page.goto(site + path("preferences", ada.subscriber.public_id))
    keys.reach("name", by="id")
    keys.press("Control+a")
    keys.type("Ada Byron")
    keys.reach("language", by="id")
    keys.press("ArrowDown")
    keys.reach("Save")
    keys.press("Enter")
    keys.page.wait_for_selector("[role=status]")
    assert keys.page.evaluate("document.documentElement.lang") == "de"
    assert subscription("ada@example.net").subscriber.name == "Ada Byron"

    keys.page.goto(f"{site}{path('unsubscribe', ada.public_id)}?lang=en")
    keys.reach("Unsubscribe")
    keys.press("Enter")
    keys.arrive("You have left")
    assert subscription("ada@example.net").state == "unsubscribed"


def test_reading_the_archive(
    site: str, keys: Keys, publish: Callable[..., store.Digest], now: Any
) -> None:
    """From the form to the list, to a digest, to its neighbour, and back to the form."""
    from datetime import timedelta

    publish(subject="The older one", at=now - timedelta(days=7))
    publish(subject="The newer one")
    keys.page.goto(f"{site}/field-notes/")
    keys.reach("Past digests")
    keys.press("Enter")
    keys.arrive("Past digests")
    keys.reach("The newer one")
    keys.press("Enter")
    keys.arrive("The newer one")
    keys.reach("The older one")
    keys.press("Enter")
    keys.arrive("The older one")
    keys.reach("Sign up")
    keys.press("Enter")
    keys.arrive("Sign up to receive the latest updates from Field Notes")
