"""Check a consent receipt without the newsletter that issued it, and without a network.

    python verify_receipt.py RECEIPT --key VKEY [--key VKEY ...]

RECEIPT is the JSON file; VKEY is the public key of the log, as its operator published it. Exit code
0 and what was agreed to, or 1 and the check that failed. This file needs Python 3.11 and the
package `cryptography`, and nothing else; copy it anywhere.

Proven by the log: every event, its time as recorded and its words (each event opens a commitment,
the commitment is a leaf of the Merkle tree, and the tree's root stands in a signed checkpoint), and
all that is made of the events alone: it is made again here and compared. Only stated by the
operator: what lies under newsletter.stated (who the controller is, when a mail was handed over,
when the receipt was issued) and the controllers made of it. Both are under the operator's
signature, so that no byte of the file can be changed. Not proven by anything here: that the
recorded times are the true ones, who sat at the keyboard, and that there are no further events
about the person.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "newsletter.receipt/1"
_PROOF = "c2sp.org/tlog-proof@v1"
_DPV = "https://w3id.org/dpv"
_PROFILE = "https://w3id.org/dpv/schema/dpv-27560"
_MAX_BYTES = 64 * 1024 * 1024
_MAX_SIGNATURES = 16
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_STATED = ("issued_at", "only_publication", "checkpoint_signed_at", "publications", "mails")
_STATED_PUBLICATION = ("slug", "title", "from_name", "from_address", "postal_address")
_STATED_MAIL = (
    "publication", "letter", "message_id", "sha256", "state", "queued_at", "settled_at"
)  # fmt: skip
_STATED_LISTS = ("publications", "mails")
_STATED_PERHAPS = (
    "only_publication", "checkpoint_signed_at", "message_id", "sha256", "settled_at"
)  # fmt: skip
_NAMED = ("schema", "event_id", "type", "time", "actor", "channel")
_ABOUT = ("publication", "subscriber", "subscription", "address")
_ALIVE = ("pending", "confirmed")
_ENDS = {
    "withdrawn": "unsubscribed",
    "blocked": "unsubscribed",
    "bounced": "bounced",
    "complained": "complained",
}
_STATES = {
    "pending": "ConsentRequested",
    "confirmed": "ConsentGiven",
    "unsubscribed": "ConsentWithdrawn",
    "bounced": "ConsentTerminated",
    "complained": "ConsentWithdrawn",
}
_DID = {
    "requested": "asked for",
    "confirmed": "confirmed",
    "withdrawn": "left",
    "blocked": "said that the sign-up was not theirs:",
    "unblocked": "took the block away from",
    "imported": "brought the reader into",
    "bounced": "refused mail of",
    "complained": "reported as unwanted:",
    "preferences": "changed preferences at",
}
_THROUGH = {
    "form": "the sign-up form",
    "link": "the link in a mail",
    "one-click": "one click in the mail program",
    "preferences": "the preferences page",
    "command": "a command",
    "import": "an import",
    "bounce": "the answer of a mail server",
    "schedule": "the schedule",
}

Json = dict[str, Any]


class Invalid(Exception):
    """The receipt does not verify: `check` is what was looked at, the text is what is wrong."""

    def __init__(self, check: str, fault: str) -> None:
        self.check = check
        super().__init__(fault)


class Key:
    """A public key of the log, read from its vkey: name+id+key (C2SP signed-note)."""

    def __init__(self, vkey: str) -> None:
        """vkey: as published; raises Invalid when it is not one of Ed25519."""
        self.name, _, rest = vkey.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _decoded(encoded, "key")
        try:
            self.id = hashlib.sha256(self.name.encode() + b"\n" + key).digest()[:4]
        except UnicodeEncodeError as error:
            raise Invalid("key", "this is not text: copy the whole line of the key") from error
        if not self.name or len(key) != 33 or key[0] != 1 or key_id != self.id.hex():
            raise Invalid("key", "this is not the vkey of an Ed25519 key: copy the whole line")
        self._public = Ed25519PublicKey.from_public_bytes(key[1:])

    def signed(self, text: str, signature: bytes) -> bool:
        """Whether `signature` is this key's over `text`."""
        try:
            self._public.verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


def canonical(event: Json) -> bytes:
    """The bytes of an event that were committed to (for such values the same as RFC 8785)."""
    return json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def serialized(receipt: Json) -> bytes:
    """The bytes of a receipt's file: there is one spelling for one receipt."""
    return (json.dumps(receipt, indent=2, ensure_ascii=False) + "\n").encode()


def proof_text(index: int, path: list[bytes], checkpoint: str) -> str:
    """A C2SP tlog-proof: the leaf's index, the hashes from the leaf upward, the signed note."""
    hashes = "".join(f"{base64.b64encode(each).decode()}\n" for each in path)
    return f"{_PROOF}\nindex {index}\n{hashes}\n{checkpoint}"


def signed_text(receipt: Json) -> str:
    """The text that the operator signs for a receipt, which has no signature in it yet.

    Nobody can take it for a checkpoint: a checkpoint's second line is a number.
    """
    return f"{FORMAT}\n{base64.b64encode(hashlib.sha256(serialized(receipt)).digest()).decode()}\n"


def verify(data: bytes, vkeys: list[str]) -> Json:
    """The receipt in `data`, checked from the first byte to the last.

    vkeys: public keys of the log; one that signed is enough, so old receipts keep verifying with
    the old key. Raises Invalid.
    """
    keys = [Key(vkey) for vkey in vkeys]
    receipt = _parsed(data)
    own = _part(receipt, "newsletter", dict)
    if own.get("format") != FORMAT:
        raise Invalid("file", f"this is not a receipt of the format {FORMAT}")
    checkpoint, signature = _part(own, "checkpoint", str), _part(own, "signature", str)
    events, stated = _part(own, "events", list), _stated(_part(own, "stated", dict))
    tree = _tree(_opened(checkpoint, keys, "checkpoint"), keys)
    if not events:
        raise Invalid("events", "there is no event in the receipt")
    for number, entry in enumerate(events):
        _check_event(entry, f"event {number + 1}", checkpoint, tree)
    _check_order([entry["event"] for entry in events])
    try:
        again = compose(events, stated, checkpoint)
    except (KeyError, TypeError, AttributeError) as error:
        raise Invalid("events", f"they are not of this version: {error!r}") from None
    said = _opened(signature, keys, "signature")
    is_signed = hmac.compare_digest(said.encode(), signed_text(again).encode())
    again["newsletter"]["signature"] = signature
    if where := _difference(again, receipt):
        raise Invalid("statements", f"{where} is not what follows from the proven events")
    if serialized(again) != data:
        raise Invalid("file", "the file is not written as it was issued (blanks, order, escapes)")
    if not is_signed:
        raise Invalid("signature", "the operator did not sign these statements")
    return receipt


def compose(events: list[Json], stated: Json, checkpoint: str) -> Json:
    """The receipt that follows from its events, without the signature.

    events: each {"event", "opening", "proof"}; stated: what the operator says besides.
    """
    events = [
        {"event": dict(sorted(e["event"].items())), "opening": e["opening"], "proof": e["proof"]}
        for e in events
    ]
    bare = [entry["event"] for entry in events]
    records = list(dict.fromkeys(event["subscription"] for event in bare))
    basis = canonical({"checkpoint": checkpoint, "events": events, "stated": stated})
    return {
        "schema_version": f"{_PROFILE}#receipt-record",
        "receipt_id": f"sha256:{hashlib.sha256(basis).hexdigest()}",
        "pii_principal_id": bare[-1]["address"],
        "pii_controllers": [
            {
                "party_id": each["slug"],
                "party_name": each["from_name"],
                "party_address": each["postal_address"],
                "party_email": each["from_address"],
                "party_type": f"{_DPV}#DataController",
            }
            for each in stated["publications"]
        ],
        "consent_records": [_record([e for e in bare if e["subscription"] == r]) for r in records],
        "newsletter": {
            "format": FORMAT,
            "summary": [sentence(event) for event in bare],
            "agreements": [agreement([e for e in bare if e["subscription"] == r]) for r in records],
            "stated": stated,
            "events": events,
            "checkpoint": checkpoint,
        },
    }


def follow(state: str | None, event: Json) -> str | None:
    """The state of a subscription after `event`; as in newsletter.consent.fold."""
    kind = event["type"]
    if kind == "requested":
        return state if state in _ALIVE else "pending"
    if kind == "imported":
        return state or event.get("status")
    if kind == "confirmed":
        return "confirmed" if state == "pending" else state
    return _ENDS.get(kind, state) if state in _ALIVE else state


def agreement(events: list[Json]) -> Json:
    """What the events of one subscription come to: the state, its times, and the words agreed to.

    The words are those of the request whose mail was answered; of the last request while none was.
    """
    made: Json = dict.fromkeys(("state", "requested_at", "confirmed_at", "ended_at", "declared"))
    declared: Json | None = None
    by_mail: dict[str, Json | None] = {}
    mails: dict[str, Json] = {}
    for event in events:
        before, state = made["state"], follow(made["state"], event)
        declared = _declared(event) or declared
        if name := event.get("message_id"):
            mail = mails.setdefault(name, {"message_id": name, "sha256": None, "positions": []})
            mail["sha256"] = event.get("mail_sha256", mail["sha256"])
            mail["positions"].append(event["position"])
        if event["type"] == "requested" and name:
            by_mail.setdefault(name, declared)
        if state in _ALIVE and before not in _ALIVE:
            asked_at = event["time"] if event["type"] == "requested" else None
            made |= {"requested_at": asked_at, "confirmed_at": None, "ended_at": None}
        if state == "confirmed" != before:
            made |= {"confirmed_at": event["time"], "declared": by_mail.get(name or "", declared)}
        elif state == "pending":
            made["declared"] = declared
        elif before in _ALIVE and state not in _ALIVE:
            made["ended_at"] = event["time"]
        made["state"] = state
    first = {name: events[-1][name] for name in ("subscription", "publication", "address")}
    return first | made | {"mails": list(mails.values())}


def sentence(event: Json) -> str:
    """One event in words."""
    who = {"subscriber": event["address"], "relay": "a mail server"}.get(
        event["actor"], f"the {event['actor']}"
    )
    through = _THROUGH.get(event["channel"], event["channel"])
    did = _DID.get(event["type"], event["type"])
    about = "" if who == event["address"] else f", for {event['address']}"
    parts = [f"{event['time']}: {who} {did} {event['publication']}, through {through}{about}."]
    if "wording" in event:
        ticked = "The box beside these words was ticked" if event.get("box_ticked") else "The words"
        parts.append(
            f"{ticked}: “{event['wording']}” (version {event.get('wording_version')}; privacy "
            f"policy {event.get('privacy_url')}, version {event.get('privacy_version')})."
        )
    for name, words in (
        ("address_as_entered", "Address as entered"),
        ("form_url", "Page"),
        ("client_address", "Network address"),
        ("user_agent", "Program"),
        ("message_id", "Mail"),
        ("mail_sha256", "SHA-256 of the mail"),
        ("status", "Brought in as"),
        ("source", "Where the consent came from"),
        ("note", "Note"),
    ):
        if name in event:
            parts.append(f"{words}: {event[name]}.")
    return " ".join(parts)


def report(receipt: Json) -> str:
    """What a receipt that verified says, for people; nothing in it moves the cursor."""
    own = receipt["newsletter"]
    origin, size = own["checkpoint"].split("\n")[:2]
    lines = ["The receipt verifies.", "", f"Log: {origin}, {size} events", ""]
    for each in own["agreements"]:
        lines.append(f"{each['address']}: {each['publication']} is {each['state']}")
        for name, words in (
            ("requested_at", "asked for"),
            ("confirmed_at", "confirmed"),
            ("ended_at", "ended"),
        ):
            if each[name]:
                lines.append(f"  {words:<10} {each[name]}")
        if each["declared"]:
            did = "agreed to" if each["confirmed_at"] else "was shown"
            lines.append(f"  {did}  “{each['declared']['wording']}”")
            for name in ("wording_version", "privacy_url", "privacy_version"):
                lines.append(f"    {name.replace('_', ' ')}: {each['declared'][name]}")
    lines += ["", "Proven events:", *(f"  {each}" for each in own["summary"])]
    stated = own["stated"]
    lines += ["", f"Only stated by the operator, at {stated['issued_at']}:"]
    for each in stated["publications"]:
        where = each["postal_address"].replace("\n", ", ")
        who = f"{each['from_name']} <{each['from_address']}>, {where}"
        lines.append(f"  {each['slug']} is {each['title']}, of {who}")
    for each in stated["mails"]:
        parts = [f"  mail {each['message_id']} ({each['letter']}), queued {each['queued_at']}"]
        parts += [f"{each['state']} {each['settled_at'] or ''}".rstrip()]
        parts += [f"SHA-256 {each['sha256']}"] if each["sha256"] else []
        lines.append(", ".join(parts))
    return "\n".join(shown(line) for line in lines)


def shown(text: str) -> str:
    """`text` with every control, direction and other unseen character spelled out."""
    return "".join(
        f"\\u{{{ord(c):x}}}" if unicodedata.category(c)[0] in "CZ" and c != " " else c for c in text
    )


def main(arguments: list[str] | None = None) -> int:
    """The command: prints, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Check a consent receipt, offline.")
    parser.add_argument("receipt", type=Path, metavar="RECEIPT", help="the JSON file")
    parser.add_argument(
        "--key", action="append", required=True, metavar="VKEY", help="a public key of the log"
    )
    given = parser.parse_args(arguments)
    # What the terminal's encoding lacks is shown escaped instead of stopping us.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with given.receipt.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        print(report(verify(data, given.key)))
    except OSError as error:
        print(f"The receipt cannot be read: {error}", file=sys.stderr)
        return 1
    except Invalid as error:
        print(f"NOT VALID ({error.check}): {shown(str(error))}", file=sys.stderr)
        return 1
    return 0


def _record(events: list[Json]) -> Json:
    """One consent record in the terms of ISO/IEC TS 27560 and DPV."""
    found = agreement(events)
    declared = found["declared"] or {}
    state: str | None = None
    happened = []
    for event in events:
        before, state = state, follow(state, event)
        word = _STATES.get(state or "", "ConsentUnknown")
        if event["type"] == "blocked" and before == "pending":
            word = "ConsentRefused"
        is_own = event["actor"] == "subscriber"
        happened.append(
            {
                "event_time": event["time"],
                "validity_duration": f"{_DPV}#UntilEventDuration",
                "entity_id": event["address"] if is_own else event["actor"],
                "event_type": f"{_DPV}#{'ExpressedConsent' if is_own else 'Consent'}",
                "event_state": f"{_DPV}#{word}",
            }
        )
    return {
        "schema_version": f"{_PROFILE}#record",
        "record_id": found["subscription"],
        "pii_principal_id": found["address"],
        "pii_processing": {
            "service": found["publication"],
            "privacy_notice": declared.get("privacy_url"),
            "language": declared.get("language"),
            "purposes": [f"{_DPV}#RequestedServiceProvision"],
            "lawful_basis": f"{_DPV}#Consent",
            "pii_information": [{"pii_type": f"{_DPV}/pd#EmailAddress"}],
            "pii_controllers": [found["publication"]],
            "collection_method": _THROUGH.get(events[0]["channel"], events[0]["channel"]),
            "withdrawal_method": "the unsubscribe link in every mail",
        },
        "events": happened,
    }


def _declared(event: Json) -> Json | None:
    if "wording" not in event:
        return None
    names = ("wording", "wording_version", "privacy_url", "privacy_version", "language")
    said = {name: event.get(name) for name in (*names, "box_ticked")}
    return {"position": event["position"], "time": event["time"]} | said


def _check_event(entry: Any, which: str, checkpoint: str, tree: tuple[int, bytes, int]) -> None:
    """The event is the one that was committed to, and its commitment is a leaf of the tree."""
    if not isinstance(entry, dict):
        raise Invalid(which, "it cannot be read")
    event, opening, proof = (
        _part(entry, "event", dict), _part(entry, "opening", str), _part(entry, "proof", str)
    )  # fmt: skip
    position = event.get("position")
    if type(position) is not int or any(type(event.get(n)) is not str for n in (*_NAMED, *_ABOUT)):
        raise Invalid(which, "it is not a whole event about one person")
    if not re.fullmatch(r"[0-9a-f]{64}", opening):
        raise Invalid(which, "its opening is not 32 bytes in hex")
    index, path = _path(proof, which, checkpoint)
    size, root, number = tree
    # A log that follows a recovery begins with the recovery itself: what is older moves up by one.
    if index != position and not (number > 1 and index == position + 1):
        raise Invalid(which, f"its proof is for leaf {index}, it says position {position}")
    commitment = hmac.digest(bytes.fromhex(opening), canonical(event), "sha256")
    leaf = hashlib.sha256(b"\x00consentlog/v1\x00" + commitment).digest()
    if _root(leaf, index, size, path) != root:
        raise Invalid(
            which, f"position {position}: the event, its opening and its proof do not lead to the "
            "root of the signed checkpoint"
        )  # fmt: skip


def _check_order(events: list[Json]) -> None:
    positions = [event["position"] for event in events]
    if positions != sorted(set(positions)):
        raise Invalid("events", "they are not in the order of the log")
    if len({event["subscriber"] for event in events}) != 1:
        raise Invalid("events", "they are about more than one person")


def _path(proof: str, which: str, checkpoint: str) -> tuple[int, list[bytes]]:
    """Leaf index and hashes of a C2SP tlog-proof, whose checkpoint must be the receipt's."""
    head, separator, rest = proof.partition("\n\n")
    lines = head.split("\n")
    if lines[0] != _PROOF or len(lines) < 2 or not lines[1].startswith("index ") or not separator:
        raise Invalid(which, f"its proof is not a {_PROOF}")
    if rest != checkpoint:
        raise Invalid(which, "its proof has another checkpoint than the receipt")
    number = lines[1].removeprefix("index ")
    hashes = [_decoded(line, which) for line in lines[2:]]
    if not _NUMBER.fullmatch(number) or any(len(each) != 32 for each in hashes):
        raise Invalid(which, "its proof cannot be read")
    return int(number), hashes


def _root(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to (RFC 9162 §2.1.3.2); None: a wrong length."""
    if not 0 <= index < size:
        return None
    at, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            found = hashlib.sha256(b"\x01" + sibling + found).digest()
            while at & 1 == 0 and at != 0:
                at, last = at >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\x01" + found + sibling).digest()
        at, last = at >> 1, last >> 1
    return found if last == 0 else None


def _tree(text: str, keys: list[Key]) -> tuple[int, bytes, int]:
    """Size and root of a checkpoint's text (C2SP tlog-checkpoint), and the number of its log."""
    lines = text.split("\n")
    if len(lines) < 4 or not _NUMBER.fullmatch(lines[1]):
        raise Invalid("checkpoint", "it cannot be read")
    root = _decoded(lines[2], "checkpoint")
    for key in keys:
        if lines[0] == key.name:
            return int(lines[1]), root, 1
        # After a recovery the log goes on under the same key as <name>/2, and so on.
        number = lines[0].removeprefix(f"{key.name}/")
        if _NUMBER.fullmatch(number) and int(number) > 1:
            return int(lines[1]), root, int(number)
    raise Invalid("checkpoint", f"it is of another log: {lines[0]}")


def _opened(note: str, keys: list[Key], what: str) -> str:
    """The text of a C2SP signed note; a wrong signature under a known key spoils it."""
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not lines.endswith("\n") or lines.count("\n") > _MAX_SIGNATURES:
        raise Invalid(what, "it is not a signed note")
    text, names, is_signed = text + "\n", [], False
    for line in lines[:-1].split("\n"):
        dash, name, encoded = [*line.split(" "), "", ""][:3]
        signature = _decoded(encoded, what)
        if dash != "\u2014" or not name or len(signature) < 5 or line.count(" ") != 2:
            raise Invalid(what, "a signature line cannot be read")
        names.append(f"{name}+{signature[:4].hex()}")
        for key in keys:
            if (key.name, key.id) == (name, signature[:4]):
                if not key.signed(text, signature[4:]):
                    raise Invalid(what, f"the signature of {names[-1]} is wrong")
                is_signed = True
    if not is_signed:
        raise Invalid(what, f"none of the given keys signed it, but {', '.join(names)}")
    return text


def _parsed(data: bytes) -> Json:
    def once(pairs: list[tuple[str, Any]]) -> Json:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name stands twice in one object")
        return dict(pairs)

    def never(text: str) -> None:
        raise ValueError(f"{text} does not stand in a receipt")

    if len(data) > _MAX_BYTES:
        raise Invalid("file", "it is too large for a receipt")
    try:
        found = json.loads(
            data.decode(), object_pairs_hook=once, parse_float=never, parse_constant=never
        )
        serialized(found)  # lone surrogates are no text
    except (ValueError, RecursionError) as error:
        raise Invalid("file", f"it is not the JSON of a receipt: {error}") from None
    if not isinstance(found, dict):
        raise Invalid("file", "it is not the JSON of a receipt")
    return found


def _stated(stated: Json) -> Json:
    """The operator's statements, if they have the right shape: texts, and none missing."""
    rows: list[tuple[Any, tuple[str, ...]]] = [(stated, _STATED)]
    rows += [(each, _STATED_PUBLICATION) for each in _part(stated, "publications", list)]
    rows += [(each, _STATED_MAIL) for each in _part(stated, "mails", list)]
    for row, wanted in rows:
        if not isinstance(row, dict) or tuple(row) != wanted:
            raise Invalid("statements", f"the operator states exactly {', '.join(wanted)}")
        for name in wanted:
            kinds = (str, type(None)) if name in _STATED_PERHAPS else (str,)
            if name not in _STATED_LISTS and type(row[name]) not in kinds:
                raise Invalid("statements", f"{name} is missing or of a wrong kind")
    return stated


def _part(whole: Json, name: str, kind: type) -> Any:
    if type(whole.get(name)) is not kind:
        raise Invalid("file", f"{name} is missing or of a wrong kind")
    return whole[name]


def _decoded(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    # One spelling for one value: the last character could hide bits otherwise.
    if not data or base64.b64encode(data).decode() != text:
        raise Invalid(what, "a part of it is not base64")
    return data


def _difference(wanted: Any, found: Any, where: str = "") -> str | None:
    """Where two values first differ, such as consent_records[0].events[1].event_time."""
    pairs: list[tuple[str, Any, Any]] = []
    if type(wanted) is not type(found):
        return where
    if isinstance(wanted, dict):
        if missing := wanted.keys() ^ found.keys():
            return f"{where}.{min(missing)}".lstrip(".")
        pairs = [(f"{where}.{name}".lstrip("."), wanted[name], found[name]) for name in wanted]
    elif isinstance(wanted, list):
        if len(wanted) != len(found):
            return where
        pairs = [(f"{where}[{n}]", wanted[n], found[n]) for n in range(len(wanted))]
    elif wanted != found:
        return where
    return next((below for name, a, b in pairs if (below := _difference(a, b, name))), None)


if __name__ == "__main__":
    sys.exit(main())
