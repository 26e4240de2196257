"""When the answers to a digest's mails are reason to stop it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from newsletter.sending.breaker import Breaker


def told(*results: str) -> Breaker:
    breaker = Breaker()
    for result in results:
        getattr(breaker, result)()
    return breaker


def test_a_refusal_is_enough_while_nothing_is_accepted():
    """The first mails of a digest show that the relay does not want it."""
    assert told("refused").trips()
    assert told("other", "other", "refused").trips()


def test_what_was_accepted_long_ago_does_not_count():
    """Two hundred results later the relay may think otherwise."""
    assert not told("accepted", *["other"] * 198, "refused").trips()
    assert told("accepted", *["other"] * 199, "refused").trips()


def test_a_single_refusal_among_accepted_mails_is_one_receivers_matter():
    """Of the last 200, it takes three."""
    assert not told(*["accepted"] * 50, "refused", "refused").trips()
    assert told(*["accepted"] * 50, "refused", "refused", "refused").trips()


def test_refusals_that_are_long_past_are_forgotten():
    """Three in a year stop nobody."""
    breaker = told("refused", "refused", *["accepted"] * 199, "refused")
    assert not breaker.trips()


def test_other_results_stop_nothing():
    """Addresses that do not exist, mails that are put off."""
    assert not told().trips()
    assert not told(*["other"] * 500).trips()


@given(st.lists(st.sampled_from(["accepted", "refused", "other"]), max_size=600))
def test_it_trips_as_its_rule_says(results):
    """More than one in a hundred of the last 200, and three; or one, with none accepted."""
    last = results[-200:]
    refused = last.count("refused")
    alone = refused > 0 and "accepted" not in last
    assert told(*results).trips() == (alone or (refused >= 3 and refused / len(last) > 0.01))
