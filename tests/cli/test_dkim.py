"""newsletter dkim: a key is made once, its record shown, and what is wrong with it told."""

from __future__ import annotations

import stat

import dkim
import pytest
from commandline import Home

NAME = "s1._domainkey.example.org"


@pytest.fixture
def keyed(home: Home) -> Home:
    """An installation with one key, which does not sign yet."""
    home.run("dkim", "new", "s1", "--domain", "example.org")
    return home


def test_new_makes_a_private_file_and_tells_the_record(home: Home) -> None:
    """The key lies beside the settings; the last line is its name, for scripts and dkim_keys."""
    said = home.run("dkim", "new", "s1", "--domain", "example.org").stdout
    file = home.folder / "dkim" / f"{NAME}.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lines = said.splitlines()
    assert lines[0] == f"Key: {file}"
    assert lines[-1] == NAME
    (record,) = (line for line in lines if line.startswith("v=DKIM1; "))
    assert dkim.evaluate_pk("s1", record)[1] == 2048
    (zone,) = (line for line in lines if line.startswith(f"{NAME}. IN TXT ( "))
    assert "".join(zone.partition("(")[2].replace('" "', "").strip(' ")')) == record
    assert "PRIVATE" not in said


@pytest.mark.parametrize(
    ("words", "algorithm", "bits"),
    [
        ((), "rsa", 2048),
        (("--bits", "3072"), "rsa", 3072),
        (("--algorithm", "ed25519"), "ed25519", 256),
    ],
)
def test_new_for_programs(home: Home, words: tuple[str, ...], algorithm: str, bits: int) -> None:
    """--json has all of it, the record also in the strings that some DNS providers ask for."""
    found = home.json("dkim", "new", "s1", "--domain", "example.org", *words)
    assert (found["name"], found["algorithm"], found["bits"]) == (NAME, algorithm, bits)
    assert "".join(found["strings"]) == found["record"]
    assert max(map(len, found["strings"])) <= 255
    assert found == home.json("dkim", "show", NAME)
    assert dkim.evaluate_pk("s1", found["record"])[2] == algorithm.encode()


def test_new_never_overwrites(keyed: Home) -> None:
    """A selector that has a key keeps it."""
    file = keyed.folder / "dkim" / f"{NAME}.pem"
    before = file.read_bytes()
    said = keyed.run("dkim", "new", "S1", "--domain", "Example.org.", code=1).stderr
    assert "nothing was changed" in said
    assert file.read_bytes() == before
    assert [each.name for each in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("s 1", "--domain", "example.org"), 1, "no selector"),
        (("../s1", "--domain", "example.org"), 1, "no selector"),
        (("s1", "--domain", "notes@example.org"), 1, "no domain"),
        (("s1",), 2, "--domain"),
        (("s1", "--domain", "example.org", "--bits", "1024"), 2, "--bits"),
        (("s1", "--domain", "example.org", "--algorithm", "ed25519", "--bits", "2048"), 2, "RSA"),
    ],
)
def test_what_cannot_be_made(home: Home, words: tuple[str, ...], code: int, said: str) -> None:
    """Names that the DNS cannot hold and weak keys are refused, and nothing is made."""
    assert said in home.run("dkim", "new", *words, code=code).stderr
    assert not (home.folder / "dkim").exists()


def test_list_tells_what_signs_and_what_is_wrong(keyed: Home) -> None:
    """Keys of the folder and of the settings, each with its fault if it has one."""
    assert keyed.json("dkim", "list") == [
        {"name": NAME, "algorithm": "rsa", "bits": 2048, "signs": False, "problem": None}
    ]
    keyed.set(dkim_keys=[NAME.upper(), "gone._domainkey.example.org"])
    (keyed.folder / "dkim" / f"{NAME}.pem").chmod(0o640)
    first, second = keyed.json("dkim", "list")
    assert first["signs"] and "chmod 600" in first["problem"]
    assert second["signs"] and "newsletter dkim new gone --domain example.org" in second["problem"]
    assert "chmod 600" in keyed.run("dkim", "list").stdout


def test_list_of_nothing(home: Home) -> None:
    """Without keys it says how to make one."""
    assert "newsletter dkim new" in home.run("dkim", "list").stderr
    assert home.json("dkim", "list") == []


def test_show_of_a_key_that_is_not_there(keyed: Home) -> None:
    """An unknown name says where to look; a broken key says what is wrong."""
    for name in ("s2._domainkey.example.org", "nonsense", "../newsletter"):
        assert "newsletter dkim list" in keyed.run("dkim", "show", name, code=1).stderr
    (keyed.folder / "dkim" / f"{NAME}.pem").write_text("nothing")
    assert "cannot be read" in keyed.run("dkim", "show", NAME, code=5).stderr


def test_config_check_tells_faults_of_keys(keyed: Home) -> None:
    """Before a start: all of them at once, each with its cure, and exit code 5."""
    keyed.set(dkim_keys=[NAME])
    assert keyed.json("config", "check")["ok"] is True
    (keyed.folder / "dkim" / f"{NAME}.pem").unlink()
    found = keyed.json("config", "check", code=5)
    assert found["ok"] is False
    assert "newsletter dkim new s1" in found["faults"][0]
