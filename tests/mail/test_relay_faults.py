"""What a relay and a network can do to a mail, and the test that does it to ours."""

from __future__ import annotations

import re
from pathlib import Path

# Each with and without PIPELINING where that makes a difference. What follows from an outcome for
# the rows (backing off, pausing, giving up) is tried where it is decided, in tests/worker.
FAULTS = {
    "banner 421, 554, or none": "test_what_goes_wrong_is_named_by_its_stage",
    "EHLO refused": "test_a_relay_of_the_old_kind",
    "STARTTLS not offered, refused, cut": "test_starttls_is_never_skipped",
    "TLS handshake fails, ends, stalls": "test_a_handshake_that_fails",
    "certificate unknown, or for another name": "test_a_certificate_that_is_not_believed",
    "certificate expired": "test_a_certificate_that_expired",
    "AUTH refused for good": "test_a_wrong_password_is_about_us",
    "AUTH refused for now": "test_a_login_that_does_not_work_now",
    "MAIL, RCPT, DATA, body, dot: 4yz, 5yz, 421": "test_what_goes_wrong_is_named_by_its_stage",
    "RCPT 251, 252": "test_ways_to_say_yes",
    "RCPT 421 and hung up, others unaffected": "test_every_three_mails",
    "a refused RCPT whose DATA gets 354": "test_recipients_refused_in_a_row",
    "the answer to the dot, then a reset": "test_a_reset_behind_the_yes",
    "the answer to the dot in pieces, or in 100 lines": "test_slow_is_not_broken",
    "an answer without end, in lines or in one": "test_what_goes_wrong_is_named_by_its_stage",
    "an answer that is none": "test_what_is_no_reply",
    "an answer in the middle of the body": "test_an_answer_in_the_middle_of_a_body",
    "an answer just before the dot": "test_an_answer_just_before_the_dot",
    "a SIZE smaller than the mail": "test_a_mail_that_is_too_large",
    "no SMTPUTF8 for an address that needs it": "test_addresses_outside_ascii",
    "two answers to one command": "test_two_answers_to_one_question",
    "nobody listens": "test_nobody_listens",
    "no route, or nobody answers": "test_nobody_answers",
    "no such host": "test_a_host_that_is_none",
    "the name server fails": "test_a_name_server_that_fails",
    "the name server hangs": "test_a_name_server_that_hangs",
    "the relay's address changes": "test_several_addresses",
    "a cut after MAIL, RCPT, DATA, or any byte of the body": "test_every_byte_of_two_mails",
    "a cut after the dot": "test_taken_and_cut_is_unknown",
    "a cut in the middle of the dot": "test_every_byte_of_two_mails",
    "an answer that comes late": "test_late_is_not_never",
    "a relay that does not read": "test_a_relay_that_does_not_read",
    "answers byte by byte": "test_a_dripping_reply_has_one_deadline",
    "a reset at any stage": "test_a_reset_at_each_stage",
    "a relay that restarts again and again": "test_a_relay_that_restarts",
    "a relay that takes few connections, or few mails on one": (
        "test_a_relay_that_takes_few_connections"
    ),
}

NOT_HERE = {
    "a peer that vanished": "is silent, and silence has its deadline; keepalive is TCP's",
    "lost packets": "TCP sends them again; what remains is slowness, and a cut",
    "a relay that says 250 and loses the mail": "cannot be noticed by anybody; the README says so",
}


def test_each_fault_has_its_test() -> None:
    """The list above names tests that are there."""
    here = Path(__file__).parent
    found = {
        name
        for path in here.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert set(FAULTS.values()) <= found
    assert not set(NOT_HERE) & set(FAULTS)
