"""Signing in other processes: the same signatures, none lost, whatever becomes of the processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, wait
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signatures import AT, all_pass, key
from structlog.testing import capture_logs

from newsletter.errors import BadInput
from newsletter.mail.dkim import Signer
from newsletter.mail.signing import Signers

KEYS = (key(), key("e1", algorithm="ed25519"))
SIGNER = Signer(KEYS)
FAST = Signer(KEYS[1:])


def mail(number: int = 0, size: int = 1000) -> bytes:
    body = b"0123456789 abcdef\r\n" * (size // 19 + 1)
    return b"From: notes@example.org\r\nSubject: %d\r\n\r\n%b" % (number, body)


def expected(mails, signer: Signer = SIGNER) -> list[bytes]:
    return [signer.headers(raw, at=at) + raw for raw, at in mails]


def until(holds: Callable[[], bool]) -> None:
    """Wait for it; a minute at most, as the machine may be busy."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


@pytest.fixture(scope="module")
def signers() -> Iterator[Signers]:
    """Two processes, which all tests may use that do them no harm."""
    with closing(Signers(SIGNER, 2)) as made:
        yield made


@given(sizes=st.lists(st.sampled_from([0, 10, 3000, 31_000, 300_000]), max_size=40))
@settings(max_examples=15)
def test_every_mail_comes_back_signed(signers: Signers, sizes: list[int]) -> None:
    """In the order in which they were given, with the very signatures of the signer."""
    mails = [(mail(n, size), AT + timedelta(seconds=n)) for n, size in enumerate(sizes)]
    assert signers.submit(mails).result(60) == expected(mails)


def test_receivers_take_them_for_good(signers: Signers) -> None:
    """What comes out of the processes passes dkimpy."""
    signed = signers.submit([(mail(n, 31_000), AT) for n in range(5)]).result(60)
    assert all(all_pass(each, KEYS) for each in signed)


def test_a_mail_larger_than_the_memory_between(signers: Signers) -> None:
    """It is signed too, beside its neighbours."""
    mails = [(mail(1), AT), (mail(2, 3_000_000), AT), (mail(3), AT)]
    assert signers.submit(mails).result(60) == expected(mails)


def test_nothing_and_nobody(signers: Signers) -> None:
    """No mails give no mails; without keys, and for strangers, mails stay as they are."""
    assert signers.submit([]).result(60) == []
    stranger = b"From: notes@example.net\r\n\r\nHello\r\n"
    both = [(stranger, AT), (mail(), AT)]
    assert signers.submit(both).result(60) == expected(both)
    assert expected(both)[0] == stranger
    with closing(Signers(Signer([]))) as none:
        assert none.submit(both).result(60) == [stranger, mail()]
        assert none.processes() == []


def test_what_cannot_be_signed_is_told(signers: Signers) -> None:
    """Its batch fails with the signer's error; the others do not."""
    bad = [(mail(n), AT) for n in range(40)]
    bad[5] = bad[37] = (b"Subject: x\r\n\r\nHello\r\n", AT)
    good = [(mail(n), AT) for n in range(40)]
    batches = [signers.submit(each) for each in (good, bad, good)]
    with pytest.raises(BadInput, match="one From field"):
        batches[1].result(60)
    assert batches[0].result(60) == batches[2].result(60) == expected(good)


def test_several_threads_may_submit(signers: Signers) -> None:
    """Each gets its own mails back."""
    found: dict[int, list[bytes]] = {}

    def work(number: int) -> None:
        mails = [(mail(number * 100 + n), AT) for n in range(30)]
        found[number] = signers.submit(mails).result(60)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, signed in found.items():
        assert signed == expected([(mail(number * 100 + n), AT) for n in range(30)])


def test_processes_are_started_when_there_is_work() -> None:
    """None before the first mail, one for a single mail, and no more than there may be."""
    with closing(Signers(FAST, 3)) as signers:
        assert signers.processes() == []
        signers.submit([(mail(), AT)]).result(60)
        assert len(signers.processes()) == 1
        signers.submit([(mail(n), AT) for n in range(500)]).result(60)
        assert len(signers.processes()) == 3


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_process_loses_nothing(how: signal.Signals) -> None:
    """Whoever is killed, again and again while it signs: every mail comes back signed."""
    mails = [(mail(n, 5000), AT) for n in range(100)]
    wanted = expected(mails)
    with closing(Signers(SIGNER, 2)) as signers, capture_logs() as logs:
        for pause in (0, 0.001, 0.002, 0.005, 0.01):
            signers.submit(mails).result(60)
            future = signers.submit(mails)
            time.sleep(pause)
            for number in signers.processes():
                os.kill(number, how)
            assert future.result(60) == wanted
        assert signers.submit(mails).result(60) == wanted
        assert len(signers.processes()) == 2
    ended = [each for each in logs if each["event"] == "signer_process_ended"]
    assert any(each["unanswered"] for each in ended)
    assert {each["code"] for each in ended} == {-how}


def test_a_hung_process_is_ended() -> None:
    """One that does not answer any more does not hold its mails for ever."""
    mails = [(mail(n), AT) for n in range(20)]
    with closing(Signers(FAST, 1, patience=0.5)) as signers:
        signers.submit(mails).result(60)
        (hung,) = signers.processes()
        os.kill(hung, signal.SIGSTOP)
        assert signers.submit(mails).result(60) == expected(mails, FAST)
        assert not alive(hung)


@pytest.mark.parametrize("program", ["/bin/false", "/nowhere/python"])
def test_without_processes_it_signs_by_itself(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """Where no process can be started, the mails are signed all the same."""
    monkeypatch.setattr(sys, "executable", program)
    mails = [(mail(n), AT) for n in range(50)]
    with closing(Signers(FAST, 2)) as signers:
        with capture_logs() as logs:
            for _ in range(10):
                assert signers.submit(mails).result(60) == expected(mails, FAST)
        # It is not tried again and again.
        assert 3 <= len(logs) <= 4


def test_a_stop_of_all_processes_is_left_to_the_parent() -> None:
    """Ctrl-C and a service manager's SIGTERM reach the group; what is in flight needs signing."""
    with closing(Signers(FAST, 1)) as signers:
        signers.submit([(mail(), AT)]).result(60)
        (number,) = signers.processes()
        for each in (signal.SIGINT, signal.SIGTERM):
            os.kill(number, each)
        assert signers.submit([(mail(), AT)]).result(60) == expected([(mail(), AT)], FAST)
        assert signers.processes() == [number]


def test_closing_ends_all_and_cancels_the_rest() -> None:
    """No process, descriptor or thread stays behind, and nobody waits for ever."""
    before = descriptors(), threading.active_count()
    signers = Signers(SIGNER, 2)
    signers.submit([(mail(), AT)] * 2).result(60)
    numbers = signers.processes()
    futures = [signers.submit([(mail(n, 31_000), AT) for n in range(200)]) for _ in range(5)]
    signers.close()
    signers.close()
    done = wait(futures, timeout=60).done
    assert len(done) == 5
    with pytest.raises(CancelledError):
        futures[-1].result()
    assert not any(map(alive, numbers))
    assert (descriptors(), threading.active_count()) == before
    with pytest.raises(RuntimeError):
        signers.submit([(mail(), AT)])


def test_what_was_cancelled_is_left_out() -> None:
    """A batch that nobody wants any more does not hold up the next one."""
    with closing(Signers(SIGNER, 1)) as signers:
        futures = [signers.submit([(mail(n, 31_000), AT)] * 200) for n in range(3)]
        assert futures[1].cancel()
        assert len(futures[2].result(60)) == 200
        assert wait(futures, timeout=60).not_done == set()
        assert futures[1].cancelled()


PARENT = """
import sys, time
from datetime import UTC, datetime
from newsletter.mail.dkim import Signer
from newsletter.mail.dkim_key import Key
from newsletter.mail.signing import Signers
signers = Signers(Signer([Key.fresh("s1", "example.org", "ed25519")]), 2)
raw = b"From: notes@example.org\\r\\n\\r\\nHello\\r\\n"
signers.submit([(raw, datetime.now(UTC))] * 100).result()
print(*signers.processes(), flush=True)
if sys.argv[1] == "work":
    while True:
        signers.submit([(raw, datetime.now(UTC))] * 100).result()
elif sys.argv[1] == "wait":
    time.sleep(600)
"""


@pytest.mark.parametrize("then", ["work", "wait", "leave"])
def test_processes_end_with_their_parent(then: str) -> None:
    """However it ends: killed while they sign or while they wait, or without closing them."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, then], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        numbers = [int(each) for each in parent.stdout.readline().split()]
        assert len(numbers) == 2
        if then != "leave":
            assert all(map(alive, numbers))
            parent.kill()
    until(lambda: not any(map(alive, numbers)))


def test_keys_are_seen_by_nobody_else(signers: Signers) -> None:
    """A list of processes shows neither a key nor a mail: both go through pipes and memory."""
    signers.submit([(mail(), AT)]).result(60)
    for number in signers.processes():
        for what in ("cmdline", "environ"):
            shown = Path(f"/proc/{number}/{what}").read_bytes()
            assert b"PRIVATE KEY" not in shown and b"example.org" not in shown
