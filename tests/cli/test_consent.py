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
    assert home.json("consent", "verify") == {"ok": True, "events": 0, "erased": 0, "states": {}}


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
    assert "position 1" in found["fault"]
