"""consent log and verify: the record as an operator sees it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from commandline import Home


def test_log_of_one_person(home: Home) -> None:
    """Position, commitment and the whole event; only this person's."""
    home.publish()
    home.bring_in("ada@example.net", "bob@example.net")
    (row,) = home.json("consent", "log", "bob@example.net")
    assert row["position"] == 1
    assert row["erased"] is False
    assert len(row["commitment"]) == 64
    assert row["event"]["address"] == "bob@example.net"
    assert len(home.json("consent", "log")) == 2
    home.run("consent", "log", "eve@example.net", code=1)
    plain = home.run("consent", "log").stdout.splitlines()
    assert plain[0].split() == [
        *("POSITION", "TIME", "TYPE", "PUBLICATION", "ADDRESS", "ACTOR", "CHANNEL")
    ]
    assert "imported" in plain[1]


def test_log_of_the_erased(home: Home) -> None:
    """Of an erased person position and commitment are left, and nothing else."""
    home.publish()
    home.bring_in("ada@example.net")
    home.run("subscriber", "erase", "ada@example.net", "--yes")
    first, last = home.json("consent", "log")
    assert first["erased"] is True
    assert first["event"] is None
    assert last["event"]["type"] == "erased"
    assert "ada@" not in home.run("consent", "log").output


def test_an_empty_log(home: Home) -> None:
    """An empty log verifies, and is an empty array."""
    assert home.json("consent", "log") == []
    assert home.json("consent", "verify") == {
        **{"ok": True, "events": 0, "erased": 0, "states": {}},
        **{"full": True, "from": 0, "checkpoints": 0, "signed": 0, "halted": False},
    }


def test_verify_names_the_first_fault(home: Home) -> None:
    """Exit code 4, with the position; in JSON too."""
    home.publish()
    home.bring_in("ada@example.net", "bob@example.net", "eve@example.net")
    assert home.json("consent", "verify")["events"] == 3
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute(
            "UPDATE consent_event SET body = "
            "CAST(replace(CAST(body AS TEXT), 'bob', 'rob') AS BLOB) WHERE position = 1"
        )
        connection.commit()
    assert "position 1" in home.run("consent", "verify", code=4).stderr
    found = home.json("consent", "verify", code=4)
    assert found["ok"] is False
    assert found["position"] == 1
    assert "position 1" in found["fault"]


def test_a_fault_halts_until_a_clean_check(home: Home) -> None:
    """Sending stands still after a failed check, and goes on after a clean one."""
    home.publish()
    home.bring_in("ada@example.net", "bob@example.net")
    (body,) = change(home, "SELECT state FROM consent_event WHERE position = 1")
    change(home, "UPDATE consent_event SET state = 'pending' WHERE position = 1")
    home.run("consent", "verify", "--full", code=4)
    assert "position 1" in str(halted(home))
    change(home, "UPDATE consent_event SET state = ? WHERE position = 1", *body)
    assert home.json("consent", "verify", "--full")["ok"] is True
    assert halted(home) is None


def test_a_checkpoint_that_is_missing_is_named_and_put_back(home: Home) -> None:
    """The one beside the key tells; the next check finds it where it belongs."""
    home.publish()
    home.bring_in("ada@example.net")
    home.run("consent", "checkpoint")
    assert home.json("consent", "verify")["signed"] == 1
    change(home, "DELETE FROM consent_checkpoint")
    result = home.run("consent", "verify", code=4)
    assert "checkpoint over 1 events" in result.stderr
    assert "put back" in result.stderr
    assert home.json("consent", "verify")["checkpoints"] == 1
    assert halted(home) is None


def test_an_older_database_is_found(home: Home) -> None:
    """A copy from before the last checkpoint does not verify, and says so."""
    home.publish()
    home.bring_in("ada@example.net")
    home.run("consent", "checkpoint")
    home.run("backup", home.folder / "backup.db")
    home.bring_in("bob@example.net")
    home.run("consent", "checkpoint")
    home.database.write_bytes((home.folder / "backup.db").read_bytes())
    for name in ("newsletter.db-wal", "newsletter.db-shm"):
        (home.folder / name).unlink(missing_ok=True)
    assert "older than the last checkpoint" in home.run("consent", "verify", code=4).stderr
    assert "older" in str(halted(home))


def change(home: Home, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Do something behind the back of the service."""
    with closing(sqlite3.connect(home.database)) as connection:
        rows = connection.execute(statement, values).fetchall()
        connection.commit()
    return rows


def halted(home: Home) -> object:
    """Why sign-up and sending stand still."""
    return change(home, "SELECT log_fault FROM installation")[0][0]
