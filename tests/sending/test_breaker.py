"""When the answers to a digest's mails are reason to stop it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from newsletter.sending.breaker import Breaker


def told(*results: str) -> Breaker:
    """What became of so many mails, the first of them number 0."""
    breaker = Breaker()
    for number, result in enumerate(results):
        getattr(breaker, result)(number)
    return breaker


def test_a_refusal_is_enough_while_nothing_is_accepted():
    """The first mails of a digest show that the relay does not want it, also when tried anew."""
    assert told("refused").trips()
    assert told("other", "other", "refused").trips()
    assert told("refused_again").trips()


def test_what_was_accepted_once_counts_for_the_rest_of_the_digest():
    """Only one mail may be left to try; others having theirs, it is about its reader."""
    assert not told("accepted", *["other"] * 300, "refused").trips()
    breaker = told("refused")
    breaker.was_accepted = True
    assert not breaker.trips()


def test_a_single_refusal_among_accepted_mails_is_one_receivers_matter():
    """Of the last 200, it takes three."""
    assert not told(*["accepted"] * 50, "refused", "refused").trips()
    assert told(*["accepted"] * 50, "refused", "refused", "refused").trips()


def test_one_mail_counts_once():
    """However often it is tried."""
    breaker = told(*["accepted"] * 50, "refused")
    for _ in range(5):
        breaker.refused(50)
    assert not breaker.trips()


def test_a_mail_that_met_it_before_is_no_news():
    """An operator said to go on: only mails that meet it for the first time speak against that."""
    assert not told("accepted", *["refused_again"] * 50, "refused", "refused").trips()
    assert told("accepted", *["refused_again"] * 50, *["refused"] * 3).trips()


def test_refusals_that_are_long_past_are_forgotten():
    """Three in a year stop nobody."""
    breaker = told("refused", "refused", *["accepted"] * 199, "refused")
    assert not breaker.trips()


def test_other_results_stop_nothing():
    """Addresses that do not exist, mails that are put off."""
    assert not told().trips()
    assert not told(*["other"] * 500).trips()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 300), st.sampled_from(["accepted", "refused", "refused_again", "other"])
        ),
        max_size=600,
    )
)
def test_it_trips_as_its_rule_says(results):
    """Of the last 200 mails more than one in a hundred, and three; or one, with none accepted."""
    breaker = Breaker()
    for number, result in results:
        getattr(breaker, result)(number)
    last = [result for _number, result in _by_their_last(results)][-200:]
    if any(result == "accepted" for _number, result in results):
        refused = last.count("refused")
        assert breaker.trips() == (refused >= 3 and refused / len(last) > 0.01)
    else:
        assert breaker.trips() == bool({"refused", "refused_again"} & set(last))


def _by_their_last(results):
    """Each mail with its last result, in the order of these."""
    last = {number: place for place, (number, _result) in enumerate(results)}
    return [results[place] for place in sorted(last.values())]
