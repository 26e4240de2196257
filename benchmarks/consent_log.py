"""How fast the consent log is, and whether its length matters.

    python benchmarks/consent_log.py --events 1000000

Prints events a second for appending (in pieces, as an import does) and for verifying, the memory
that verifying takes, and what one append costs (a transaction of its own, as a sign-up makes) in a
log of 1,000 events and in the long one. The ratio of these two is the figure: 1 means that the
length does not matter.
"""

from __future__ import annotations

import argparse
import json
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from newsletter import consent, store
from newsletter.consent import check, checkpoint
from newsletter.store import public_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORIGIN = "news.example.org/consent-log"
SHORT = 1000
# People in one transaction; each of them asks and confirms, which makes two events.
PIECE = 500
# A checkpoint after so many pieces: a busy hour's worth.
PIECES_SIGNED = 10
# Single appends that are timed, in either log by turns: what else the machine does hits both.
TIMED = 500


class Log:
    """A log of its own in a SQLite file."""

    publication: store.Publication
    wording: consent.Wording

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine: Engine = store.connect(f"sqlite:///{folder / 'newsletter.db'}")
        self.keyring = consent.Keyring(folder / "consent")

    @classmethod
    def make(cls, folder: Path) -> Log:
        """An empty one with a publication."""
        folder.mkdir()
        self = cls(folder)
        store.create(self.engine, b"h" * 32, NOW)
        self.keyring.create(ORIGIN)
        with store.transaction(self.engine) as session:
            self.publication = store.Publication(
                slug="field-notes",
                title="Field Notes",
                from_name="Field Notes",
                from_address="notes@example.org",
                postal_address="Field Notes, 1 Meadow Lane, Exampleton",
                privacy_url="https://example.org/privacy",
                privacy_version="2026-01",
                created_at=NOW,
            )
            session.add(self.publication)
        self.wording = consent.wording_of(self.publication, "en")
        return self

    @property
    def size(self) -> int:
        with store.reading(self.engine) as session:
            return session.get_one(store.Installation, 1).log_size

    def grow(self, size: int) -> float:
        """Append up to `size` events; the seconds that recording them took."""
        seconds, pieces = 0.0, 0
        while (missing := size - self.size) > 0:
            with store.transaction(self.engine) as session:
                subjects = self._people(session, min(PIECE, (missing + 1) // 2))
                began = time.perf_counter()
                for kind in (consent.EventType.REQUESTED, consent.EventType.CONFIRMED):
                    consent.record_many(session, kind, subjects, now=NOW)
            seconds += time.perf_counter() - began
            pieces += 1
            if pieces % PIECES_SIGNED == 0:
                self.sign()
            if pieces % 100 == 0:
                print(f"{self.size} of {size} events", file=sys.stderr)
        self.sign()
        return seconds

    def sign(self) -> None:
        with store.transaction(self.engine) as session:
            checkpoint.sign(session, self.keyring, now=NOW)

    def append_one(self) -> float:
        """One event in a transaction of its own; the seconds with its commit."""
        began = time.perf_counter()
        with store.transaction(self.engine) as session:
            subscription = session.get_one(store.Subscription, 1)
            consent.record(
                session,
                consent.EventType.PREFERENCES,
                subscription,
                self._evidence("reader@example.net"),
                now=NOW,
            )
        return time.perf_counter() - began

    def verify(self, *, full: bool) -> tuple[check.Report, float]:
        began = time.perf_counter()
        with store.reading(self.engine) as session:
            report = check.verify(session, self.keyring, full=full, progress=_progress)
        with store.transaction(self.engine) as session:
            check.remember(session, report)
        return report, time.perf_counter() - began

    def _people(
        self, session: Session, count: int
    ) -> list[tuple[consent.Subject, consent.Evidence]]:
        people: list[dict[str, Any]] = []
        for _ in range(count):
            name = public_id()
            address = f"{name}@example.net"
            people.append(
                {
                    "public_id": name,
                    "address": address,
                    "address_key": address,
                    "language": "en",
                    "key": secrets.token_bytes(32),
                    "created_at": NOW,
                }
            )
        session.execute(insert(store.Subscriber), people)
        ids = _ids(session, store.Subscriber, people)
        rows: list[dict[str, Any]] = [
            {
                "public_id": public_id(),
                "publication_id": self.publication.id,
                "subscriber_id": ids[person["public_id"]],
                "state": "confirmed",
                "pending_since": NOW,
                "confirmed_at": NOW,
                "created_at": NOW,
            }
            for person in people
        ]
        session.execute(insert(store.Subscription), rows)
        subscription_ids = _ids(session, store.Subscription, rows)
        subjects = []
        for person, row in zip(people, rows, strict=True):
            subject = consent.Subject(
                subscriber_id=row["subscriber_id"],
                subscriber=person["public_id"],
                key=person["key"],
                subscription_id=subscription_ids[row["public_id"]],
                subscription=row["public_id"],
                address=person["address"],
                address_key=person["address_key"],
                publication=self.publication.slug,
            )
            subjects.append((subject, self._evidence(person["address"])))
        return subjects

    def _evidence(self, address: str) -> consent.Evidence:
        return consent.Evidence(
            actor="subscriber",
            channel="form",
            entered=address,
            box_ticked=True,
            wording=self.wording,
            form_url="https://news.example.org/field-notes/",
            language="en",
            client_address="192.0.2.0",
            user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        )


def main() -> None:
    """Build a short log and a long one, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=100_000, help="how long the log becomes")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--verify", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.verify:
        print(json.dumps(_verify(options.verify)))
        return
    with tempfile.TemporaryDirectory() as name:
        short, long = Log.make(Path(name) / "short"), Log.make(Path(name) / "long")
        short.grow(SHORT)
        recorded = long.grow(options.events)
        size = long.size
        of_short, of_long = _verified(short), _verified(long)
        at_short, at_long = _costs(short, long)
        long.sign()
        later, incremental = long.verify(full=False)
        results = {
            "events": size,
            "append_events_per_second": round(size / recorded),
            "append_ms_at_1000": round(at_short * 1000, 3),
            f"append_ms_at_{size}": round(at_long * 1000, 3),
            "append_ratio": round(at_long / at_short, 2),
            "verify_events_per_second": round(size / of_long["seconds"]),
            "verify_seconds": round(of_long["seconds"], 1),
            "verify_checkpoints": of_long["checkpoints"],
            "verify_mib_at_1000": round(of_short["mib"], 1),
            f"verify_mib_at_{size}": round(of_long["mib"], 1),
            "incremental_events": later.events - later.start,
            "incremental_seconds": round(incremental, 1),
        }
        for each in (short, long):
            each.engine.dispose()
    if options.json:
        print(json.dumps(results))
        return
    for label, value in results.items():
        print(f"{label.replace('_', ' '):<30} {value:>12,}")


def _costs(short: Log, long: Log) -> tuple[float, float]:
    """The median seconds of one append in each."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TIMED):
        times[0].append(short.append_one())
        times[1].append(long.append_one())
    return statistics.median(times[0]), statistics.median(times[1])


def _ids(session: Session, table: Any, rows: list[dict[str, Any]]) -> dict[str, int]:
    names = [each["public_id"] for each in rows]
    found = session.execute(select(table.public_id, table.id).where(table.public_id.in_(names)))
    return {each.public_id: each.id for each in found}


def _verified(log: Log) -> dict[str, Any]:
    """A full check in a process of its own, so that its memory is nobody else's."""
    log.engine.dispose()
    command = [sys.executable, __file__, "--verify", str(log.folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _verify(folder: Path) -> dict[str, Any]:
    log = Log(folder)
    report, seconds = log.verify(full=True)
    log.engine.dispose()
    # Of this process, at its highest; in KiB on Linux.
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "mib": mib, "checkpoints": report.checkpoints}


def _progress(done: int, total: int) -> None:
    if done % 100_000 == 0 and done:
        print(f"verified {done} of {total} events", file=sys.stderr)


if __name__ == "__main__":
    main()
