"""Keys in their files: written once, whole, for their owner only; and their records in the DNS."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from base64 import b64decode
from pathlib import Path

import dkim
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from signatures import key

from newsletter.errors import BadInput, ConfigError, WrongState
from newsletter.mail import dkim_key
from newsletter.mail.dkim_key import Key, split_name

RSA, ED25519 = key(), key("e1", algorithm="ed25519")
NAME = "s1._domainkey.example.org"


def faults(folder: Path, name: str = NAME) -> str:
    with pytest.raises(ConfigError) as caught:
        dkim_key.read(folder, name)
    return "\n".join(caught.value.faults)


def pem(private, locked: bytes | None = None) -> bytes:
    lock = serialization.BestAvailableEncryption(locked) if locked else None
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        lock or serialization.NoEncryption(),
    )


def put(folder: Path, data: bytes, mode: int = 0o600) -> Path:
    file = folder / f"{NAME}.pem"
    file.write_bytes(data)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("made", [RSA, ED25519], ids=["rsa", "ed25519"])
def test_a_key_comes_back_from_its_file(tmp_path: Path, made: Key) -> None:
    """The file and its folder are their owner's alone, and hold the same key."""
    folder = tmp_path / "etc" / "dkim"
    file = made.save(folder)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert file.name == f"{made.name}.pem"
    found = dkim_key.read(folder, made.name)
    assert (found.name, found.record, found.pem) == (made.name, made.record, made.pem)
    assert dkim_key.names_in(folder) == [made.name]
    digest = bytes(32)
    assert found.sign(digest) == made.sign(digest) == made.sign(digest)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """A second one of that name changes nothing, and leaves nothing behind."""
    file = RSA.save(tmp_path)
    before = file.read_bytes()
    with pytest.raises(WrongState, match="nothing was changed"):
        Key(RSA.domain, RSA.selector, ED25519.private_key).save(tmp_path)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_of_two_at_once_one_is_kept(tmp_path: Path) -> None:
    """Two commands at the same moment: one key is made, whole, and the other one is told."""
    made = [Key("example.org", "s1", ed25519.Ed25519PrivateKey.generate()) for _ in range(8)]
    start, won = threading.Barrier(len(made)), []

    def save(each: Key) -> None:
        start.wait()
        try:
            each.save(tmp_path)
        except WrongState:
            return
        won.append(each)

    threads = [threading.Thread(target=save, args=(each,)) for each in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.pem for each in won] == [(tmp_path / f"{NAME}.pem").read_bytes()]


def test_a_full_disk_leaves_no_half_a_key(tmp_path: Path) -> None:
    """What cannot be written whole is not there at all."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from newsletter.mail.dkim_key import Key\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "Key.fresh('s1', 'example.org', 'rsa').save(Path(sys.argv[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False
    )
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o777])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """The fault names the file and the command that mends it."""
    file = put(tmp_path, RSA.pem, mode)
    assert f"chmod 600 {file}" in faults(tmp_path)
    file.chmod(0o400)
    assert dkim_key.read(tmp_path, NAME).record == RSA.record


def test_a_missing_key_is_told_with_the_cure(tmp_path: Path) -> None:
    """It may be in a backup; else a new one is made."""
    said = faults(tmp_path)
    assert str(tmp_path / f"{NAME}.pem") in said
    assert "newsletter dkim new s1 --domain example.org" in said


# 512 bits, which cryptography does not make any more; nothing is signed with it.
SMALL = """MIIBVAIBADANBgkqhkiG9w0BAQEFAASCAT4wggE6AgEAAkEAybetrtVrdDGUYOaT
2FMLrACASnXHrIHGznyddkdwIRmvwF6D2O8jRDlYz8Mpy7AKCViSnClmqC68sDI+
/M3YIwIDAQABAkBt3cQUeJtpEuP9DzkxVrIBwdgeNh5GH/0XVBozZN92tt0cK7tc
aPCAqGa0j9w1KX9aFxU70+VBpygg/x5r93NRAiEA+ruQofvbDkjd13tbchCKuOgh
juMl0CNGyxqNHquJ/7sCIQDN9ILIIxaOj/WXHGcyIEVzTKxfbERSGHbfni9YxEJ+
uQIgVihNstvQkkAHuxvweGmmwZNCtM7pF3SHxxMAmyFm8jECIQDKbdypmAtQvmB2
UT2BAEUi6aa297RDOLaGXnVM+0IcSQIgEB70PvNSa4jT3R6wLwcloDqCnNB0x3MR
A1MqRNEeL4E="""


def in_lines(base64: str) -> bytes:
    return f"-----BEGIN {'PRIVATE'} KEY-----\n{base64}\n-----END {'PRIVATE'} KEY-----\n".encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no private key in PEM form"),
        (b"v=DKIM1; k=rsa; p=abc", "no private key in PEM form"),
        (RSA.pem[:-200], "no private key in PEM form"),
        (in_lines(SMALL[:100]), "no private key in PEM form"),
        (in_lines(SMALL), "512 bits counts nothing"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "RSA and Ed25519 keys only"),
        (pem(ED25519.private_key, b"word"), "locked with a password"),
    ],
)
def test_what_is_no_key_is_told(tmp_path: Path, data: bytes, said: str) -> None:
    """A broken, locked, foreign or weak one is a fault with the file's name."""
    file = put(tmp_path, data)
    assert str(file) in faults(tmp_path)
    assert said in faults(tmp_path)


def test_a_key_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """A folder in its place, say: the system's words, and the file's name."""
    (tmp_path / f"{NAME}.pem").mkdir()
    assert f"{NAME}.pem" in faults(tmp_path)


def test_all_faults_are_told_at_once(tmp_path: Path, settings) -> None:
    """Nobody learns of the second broken key from the second try."""
    put(tmp_path, RSA.pem, 0o644)
    ED25519.save(tmp_path)
    names = [NAME, ED25519.name, "gone._domainkey.example.org", "s1.example.org"]
    with pytest.raises(ConfigError) as caught:
        dkim_key.active(
            settings.model_copy(update={"dkim_folder": str(tmp_path), "dkim_keys": names})
        )
    assert len(caught.value.faults) == 3
    good = {"dkim_folder": str(tmp_path), "dkim_keys": [ED25519.name, ED25519.name.upper()]}
    assert [k.name for k in dkim_key.active(settings.model_copy(update=good))] == [ED25519.name]
    assert dkim_key.active(settings) == []


@given(name=st.text("aZ0-_./\\\0 \n") | st.text())
def test_a_name_never_leaves_the_folder(name: str) -> None:
    """Whatever stands in the settings, the file of a key lies in the folder."""
    for each in (name, f"{name}._domainkey.example.org", f"s1._domainkey.{name}"):
        try:
            selector, domain = split_name(each)
        except BadInput:
            continue
        file = dkim_key.file_of(Path("/dkim"), f"{selector}._domainkey.{domain}")
        assert file.resolve().parent == Path("/dkim")
        assert file.name.isascii() and "\n" not in file.name


@pytest.mark.parametrize(
    ("selector", "domain", "field"),
    [
        ("", "example.org", "selector"), ("s 1", "example.org", "selector"),
        ("-s", "example.org", "selector"), ("s1", "", "domain"), ("s1", "a..b", "domain"),
        ("s1", "example.org/", "domain"), ("s1", "notes@example.org", "domain"),
        ("s" * 64, "example.org", "selector"), ("s1", f"{'a.' * 125}org", "selector"),
        ("s1", "ex_ample.org", "domain"), ("s1", "\u2028.org", "domain"),
    ],
)  # fmt: skip
def test_a_name_that_the_dns_cannot_hold(selector: str, domain: str, field: str) -> None:
    """It is refused before a key is made; the error names what is wrong."""
    with pytest.raises(BadInput) as caught:
        Key.fresh(selector, domain, "ed25519")
    assert caught.value.field == field


def test_names_are_those_of_the_dns() -> None:
    """Lower case, without the last dot, a domain of any language in its A-labels."""
    made = Key.fresh("S1.2026", "Bücher.Example.", "ed25519")
    assert made.name == "s1.2026._domainkey.xn--bcher-kva.example"
    assert split_name(made.name) == (made.selector, made.domain)


@pytest.mark.parametrize("bits", [1024, 2048, 4096])
def test_records_are_read_by_others(bits: int) -> None:
    """dkimpy finds the key in the record, dnspython the record in the line of the zone file."""
    made = Key.fresh("s1", "example.org", "rsa", bits) if bits != 2048 else RSA
    found, size, kind, _ = dkim.evaluate_pk("s1", made.record)
    public = made.private_key.public_key().public_numbers()
    assert (found["modulus"], found["publicExponent"]) == (public.n, public.e)
    assert (size, kind, made.bits) == (bits, b"rsa", bits)
    assert "".join(made.strings) == made.record
    assert max(map(len, made.strings)) <= 255
    owner, _, data = made.zone_line.partition(" IN TXT ")
    read = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, data.strip("( )"))
    assert owner == f"{made.name}."
    assert [each.decode() for each in read.strings] == made.strings


def test_a_known_ed25519_record() -> None:
    """The key and the record of RFC 8463, appendix A."""
    secret = b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    private = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    made = Key("football.example.com", "brisbane", private)
    assert made.record == "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    assert made.bits == 256


def test_keys_of_other_programs_are_read(tmp_path: Path) -> None:
    """An RSA key as OpenDKIM and openssl write it (PKCS #1) can be moved in."""
    assert isinstance(RSA.private_key, rsa.RSAPrivateKey)
    put(
        tmp_path,
        RSA.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ),
    )
    assert dkim_key.read(tmp_path, NAME).record == RSA.record
