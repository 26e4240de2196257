"""What can happen to a sending process, its database, its clocks and its people; and where it does.

What a relay and a network can do stands in tests/mail/test_relay_faults.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
TROUBLE = "crash/test_troubles.py::test_in_trouble_nobody_is_mailed_twice_or_lost"
DISK = "crash/test_troubles.py::test_a_disk_that_fails_ends_the_sender"
NEMESIS = "crash/test_many_workers.py::test_workers_die_sleep_and_lose_their_database"
WAY = "crash/test_people.py::test_people_get_in_the_way"
FAILING = "worker/test_database_faults.py::test_each_place_may_fail_once"
LOCKED = "worker/test_stopping.py::test_a_database_that_is_locked_is_waited_for"

PROCESS = {
    "killed at a random moment": "crash/test_kills.py::test_a_thousand_kills",
    "killed at each point of the protocol": "crash/test_kills.py::test_a_thousand_kills",
    "the command itself killed": "crash/test_command.py::test_a_worker_is_killed_ten_times",
    "SIGTERM": "worker/test_stopping.py::test_no_mail_is_uncertain_when_the_relay_answers_in_time",
    "SIGTERM, and a relay that is slow": "worker/test_stopping.py::test_the_grace_time_ends",
    "a second SIGTERM, or SIGINT": "cli/test_ending.py::test_two_signals",
    "stopped for longer than its lease": NEMESIS,
    "no memory": TROUBLE,
    "no file descriptors": TROUBLE,
    "many signals at the same moment": (
        "cli/test_ending.py::test_signals_on_the_heels_of_each_other"
    ),
    "a thread dies": "worker/test_sender.py::test_an_error_in_a_connection_ends_the_worker",
    "a signing process dies": "worker/test_signed_mail.py::test_signing_processes_may_die",
    "two senders on one machine": "worker/test_process.py::test_two_processes_help_each_other",
    "many senders at the same moment": TROUBLE,
    "killed beside a real relay": "crash/test_postfix.py::test_each_mail_is_in_its_mailbox_once",
}
DATABASE = {
    "locked by somebody else": LOCKED,
    "fails for a moment, wherever the loop asks": FAILING,
    "locked at the end": "worker/test_database_faults.py::test_the_end_may_fail_too",
    "locked, and somebody signs up": "cli/test_send_many.py::test_signing_up_during_an_import",
    "a disk that may only be read": DISK,
    "a disk that is full, and has space again": TROUBLE,
    "a disk that cannot sync": DISK,
    "a power cut": "crash/test_kills.py::test_a_hundred_power_cuts",
    "less than durable by its settings": "store/test_engine.py::test_less_than_durable_is_refused",
    "replaced by an older copy while a sender runs": TROUBLE,
    "an older copy put back": "cli/test_recover.py::test_in_the_middle_of_a_digest",
    "the server torn down": NEMESIS,
    "a connection terminated": NEMESIS,
    "a deadlock, or a conflict of transactions": FAILING,
    "the answer to a COMMIT lost": "crash/test_people.py::test_commits_whose_answer_is_lost",
    "of another version": "cli/test_setup.py::test_a_database_of_another_shape",
}
CLOCKS = {
    "wall clocks a day apart, or jumping": TROUBLE,
    "a lease and a wall clock that jumps": (
        "sending/test_claim.py::test_a_wall_clock_that_jumps_ends_no_lease"
    ),
    "a scheduled digest found late": (
        "worker/test_sender.py::test_a_scheduled_digest_begins_when_its_time_has_come"
    ),
}
PEOPLE = {
    "leave while the mail is on its way": WAY,
    "leave between the body and the dot": (
        "worker/test_sender.py::test_who_leaves_while_the_mail_is_handed_over_does_not_get_it"
    ),
    "are erased while the mail is on its way": WAY,
    "pause and resume a hundred times": WAY,
    "cancel": "worker/test_sender.py::test_cancel_ends_a_digest",
    "sign up or leave while a digest is queued": (
        "sending/test_queue.py::test_a_second_send_adds_nobody"
    ),
    "edit an article of a digest that was approved": (
        "store/test_states.py::test_approval_keeps_the_content"
    ),
    "have a row that no mail can be made of": (
        "worker/test_sender.py::test_a_mail_that_cannot_be_written_fails_alone"
    ),
    "have a row that our code stumbles over": (
        "worker/test_sender.py::test_a_row_that_we_stumble_over_fails_alone"
    ),
    "have two spellings of one address": "test_addresses.py::test_same_subscriber",
    "have an address that does not exist, and a second digest": (
        "worker/test_answers.py::test_a_second_digest_does_not_go_where_nobody_lives"
    ),
    "have such an address while a second digest is sent": (
        "worker/test_answers.py::test_a_bounce_while_a_second_digest_is_sent"
    ),
    "have such an address at the end of a digest": (
        "worker/test_reply_codes.py::test_the_last_row_of_a_digest_bounces"
    ),
    "confirm, leave and are forgotten at once": (
        "subscriptions/test_journey.py::test_changes_of_one_person_at_the_same_moment"
    ),
    "set a wrong password or sender": ("worker/test_sender.py::test_a_relay_that_refuses_us"),
    "confirm many times": "web/test_web_confirm.py::test_the_button_confirms_once_and_for_all",
    "retry what failed or is uncertain": "crash/test_states.py::test_deliveries_on_sqlite",
}
FAULTS = PROCESS | DATABASE | CLOCKS | PEOPLE

NOT_HERE = {
    "a mail that kills each process that makes it": "an error in making a mail fails that mail "
    "alone; which of a dead worker's hundreds of rows ended Python itself, nobody can tell, and to "
    "put aside those that were claimed often would lose innocent readers: the README says so",
    "a fork after the database was opened": "nothing of ours forks: signing processes are started",
    "a byte of the database flipped": "SQLite keeps no checksums of its pages; the log of consent "
    "has its own, and tests of them (tests/consent/test_tampering.py)",
    "migrated while a sender runs": "the README says to stop it first; what does not fit any more "
    "is an error that ends the sender, as any other, and no new one starts on another version",
    "a standby that takes over without the last commits": "an older copy to the sender, and found "
    "like one; synchronous replication is the operator's choice",
    "a power cut under PostgreSQL": "what fsync and full_page_writes are for, and its own tests; "
    "ours tear the server down with both on",
    "the address of a reader changed meanwhile": "nobody can: another address is another sign-up",
    "the settings changed meanwhile": "they are read when a process starts, and not again",
}


@pytest.mark.parametrize("place", sorted(set(FAULTS.values())))
def test_each_fault_has_its_test(place):
    """The lists above name tests that are there."""
    file, _, name = place.partition("::")
    found = re.findall(r"^def (test_\w+)", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert name in found


def test_a_fault_is_tested_or_told_why_not():
    """Not both."""
    assert not set(FAULTS) & set(NOT_HERE)
