"""A person's own letters in the operator's words, as the sender writes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from mailing import ORIGIN
from sqlalchemy import Engine
from structlog.testing import capture_logs

from newsletter import store
from newsletter.sending import personal
from newsletter.store.letters import new_letter


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_letter_in_the_operators_words(
    engine: Engine,
    now: datetime,
    tmp_path: Path,
    make_publication: Callable[..., store.Publication],
    make_reader: Callable[..., store.Subscription],
) -> None:
    """Theirs where it can be written, else ours: a welcome never waits for an operator."""
    with store.transaction(engine) as session:
        publication = make_publication(session, theme="magazine")
        reader = make_reader(session, publication, "ada@example.net", name="Ada")
        row = new_letter(session, "welcome", publication, reader.subscriber, reader, now=now)
        number = row.id
    (tmp_path / "welcome").mkdir()
    subject = tmp_path / "welcome" / "subject.txt"
    origin = replace(ORIGIN, templates_folder=str(tmp_path))
    seen = []
    for text in ("Hooray, {{ reader.name }}!", "{{ reader.nam }}"):
        subject.write_text(text)
        with store.reading(engine) as session, capture_logs() as logs:
            raw = personal.letters(session, [number], origin)[number].raw()
        seen.append((message_from_bytes(raw, policy=default)["Subject"], len(logs)))
    assert seen == [("Hooray, Ada!", 0), ("Welcome to Field Notes", 1)]
