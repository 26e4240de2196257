"""How fast digests are sent, with all promises on, beside Postfix's own load generator.

    python benchmarks/send.py                      everything; the large part takes long
    python benchmarks/send.py --only plain --only far --readers 5000

Each part sends a digest (`newsletter send`, as an operator types it) to a receiver that throws all
mail away, in turns with `smtp-source`: the same receiver, mails of the same size, the same number
of connections. Ratios are made pair by pair, and the medians of all rounds are printed.

    plain            SQLite, no signatures, to Postfix's smtp-sink
    two              like plain, with a worker beside the command, over the same connections in all
    signed           with RSA-2048 DKIM, and the raw RSA signatures of this machine in between
    light            like plain, to a receiver that costs less of the cores it shares with us
    light-signed     like signed, to that one
    postgres         like plain, with PostgreSQL, which syncs its files as the SQLite ones are
    postgres-two     like two, with PostgreSQL
    postgres-signed  like signed, with PostgreSQL
    far              40 ms away, each way
    large            how long a million mails take to queue, and how much memory to send

A part whose tools are not on the machine is left out, and the reason is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from parts import PARTS, SETTINGS, Bench, Options, measure
from profiled import CLOCKS
from profiles import show
from turns import Result
from wire import Missing

# Goals, as the README has them.
GOALS = {
    "plain": ("ratio", 1.0),
    "signed": ("rsa_ratio", 0.5),
    "far": ("ratio", 3.0),
}


def main() -> None:
    """Measure what was asked for, and print."""
    options = _options()
    for name in [name for name in os.environ if name.startswith("NEWSLETTER_")]:
        del os.environ[name]  # the caller's own installation is not meant
    results: dict[str, Result] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = options.keep.absolute() if options.keep else Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        with Bench(folder, options) as bench:
            for part in options.parts:
                try:
                    if options.profile is None:
                        results[part] = measure(bench, part)
                    elif part in SETTINGS:
                        show(SETTINGS[part](bench), options.profile, bench)
                except Missing as error:
                    missing[part] = str(error)
                    print(f"{part}: left out: {error}", file=sys.stderr)
    if options.profile:
        return
    found = {"machine": _machine(), "parts": results, "missing": missing}
    if options.as_json:
        print(json.dumps(found))
    else:
        _print(found)


def _options() -> Options:
    words = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=words[0],
        epilog=words[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--readers", type=int, default=50_000, help="readers of the digest")
    parser.add_argument("--rounds", type=int, default=5, help="digests of each kind")
    parser.add_argument("--connections", type=int, default=50, help="of ours and of smtp-source")
    parser.add_argument("--far-mails", type=int, default=2_000, help="readers of the far part")
    parser.add_argument("--large", type=int, default=1_000_000, help="readers of the large part")
    parser.add_argument(
        "--only", action="append", choices=PARTS, dest="parts", help="this part (repeatable)"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="make the SQLite installations here, or use them"
    )
    parser.add_argument(
        "--profile",
        choices=list(CLOCKS),
        help="in place of measuring: where the time goes, as computed (cpu) or with waits (wall)",
    )
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    given = vars(parser.parse_args())
    return Options(**(given | {"parts": given["parts"] or PARTS}))


def _machine() -> dict[str, Any]:
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in cpus if "model name" in line), "")
    return {"cores": os.cpu_count(), "processor": model, "python": platform.python_version()}


def _print(found: dict[str, Any]) -> None:
    for label, value in found["machine"].items():
        print(f"{label:<42} {value}")
    for part, result in found["parts"].items():
        print(f"\n{part}")
        for label, value in result.items():
            print(f"  {label.replace('_', ' '):<40} {value:>12,}")
        if part in GOALS:
            name, goal = GOALS[part]
            reached = "reached" if result[name] >= goal else "not reached"
            print(f"  goal: {name.replace('_', ' ')} of {goal} or better: {reached}")
    for part, reason in found["missing"].items():
        print(f"\n{part}: left out: {reason}")


if __name__ == "__main__":
    main()
