"""What all tests share: a database of their own on SQLite and on PostgreSQL, a time, a reader.

The tests run against the installed newsletter, or against the checkout when none is installed;
an installed one that is not the checkout's is refused, since its results would be about old code.
"""

from __future__ import annotations

import filecmp
import importlib.util
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from postgres import NoServer, server

ROOT = Path(__file__).resolve().parent.parent


def _use_this_code() -> None:
    spec = importlib.util.find_spec("newsletter")
    if spec is None or spec.origin is None:
        sys.path.insert(0, str(ROOT))
        # The commands that tests start are to find it too.
        old = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{old}" if old else str(ROOT)
        return
    found = Path(spec.origin).parent
    names = [str(path.relative_to(ROOT)) for path in (ROOT / "newsletter").rglob("*.py")]
    _same, differ, missing = filecmp.cmpfiles(ROOT, found.parent, names, shallow=False)
    if differ or missing:
        raise pytest.UsageError(
            f"The newsletter installed in {found} is not the one of {ROOT} "
            f"({', '.join(sorted(differ + missing)[:3])}, ...): pip install '.[dev]' again."
        )


_use_this_code()

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from newsletter.config import Settings
    from newsletter.mail.sink import Sink
    from newsletter.store import Publication, Subscription

# The machine that tests run on may be busy: a slow example is not a wrong one.
hypothesis.settings.register_profile(
    "newsletter", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("newsletter")

HASH_KEY = b"h" * 32
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    """The moment at which tests happen."""
    return NOW


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from newsletter import store

    file = tmp_path_factory.mktemp("template") / "newsletter.db"
    engine = store.connect(f"sqlite:///{file}")
    store.create(engine, HASH_KEY, NOW)
    engine.dispose()
    return file


class _Postgres:
    """One server, one template database, and the databases made from it."""

    def __init__(self, url: str) -> None:
        import psycopg
        from sqlalchemy import make_url

        from newsletter import store

        self.url = make_url(url).set(drivername="postgresql+psycopg")
        plain = self.url.set(drivername="postgresql")
        self.admin = psycopg.connect(
            plain.render_as_string(hide_password=False), autocommit=True, prepare_threshold=None
        )
        self.template = self.create()
        engine = store.connect(self.address(self.template))
        store.create(engine, HASH_KEY, NOW)
        engine.dispose()

    def address(self, name: str) -> str:
        return self.url.set(database=name).render_as_string(hide_password=False)

    def create(self, template: str = "template0") -> str:
        name = f"newsletter_{secrets.token_hex(8)}"
        # FILE_COPY is a plain copy of files; the WAL-logged one costs twice as much here.
        self.admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return name

    def drop(self, name: str) -> None:
        self.admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def _postgres() -> Iterator[_Postgres]:
    try:
        with server() as url:
            postgres = _Postgres(url)
            try:
                yield postgres
            finally:
                postgres.drop(postgres.template)
                postgres.admin.close()
    except NoServer as error:
        reason = f"the PostgreSQL half of the tests did not run: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Each test with a database runs on both; `parametrize("database_kind", [...])` narrows."""
    kind: str = request.param
    return kind


@pytest.fixture
def empty_database_url(
    database_kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The database_url of a database without any table."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'newsletter.db'}"
        return
    postgres: _Postgres = request.getfixturevalue("_postgres")
    name = postgres.create()
    yield postgres.address(name)
    postgres.drop(name)


@pytest.fixture
def database_url(
    database_kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The database_url of a fresh database with tables, made with the hash key of `settings`."""
    if database_kind == "sqlite":
        file = tmp_path / "newsletter.db"
        shutil.copy(request.getfixturevalue("_sqlite_template"), file)
        yield f"sqlite:///{file}"
        return
    postgres: _Postgres = request.getfixturevalue("_postgres")
    name = postgres.create(postgres.template)
    yield postgres.address(name)
    postgres.drop(name)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A database of this test's own with empty tables; once on SQLite, once on PostgreSQL."""
    from newsletter import store

    engine = store.connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """The settings of a test installation, with the test's database if it has one; no relay."""
    from newsletter.config import Settings

    url = f"sqlite:///{tmp_path / 'newsletter.db'}"
    for name in ("empty_database_url", "database_url"):
        if name in request.fixturenames:
            url = request.getfixturevalue(name)
    return Settings(
        base_url="https://news.example.org",
        secret_key="s" * 40,
        hash_key=HASH_KEY.decode(),
        database_url=url,
        consent_folder=str(tmp_path / "consent"),
    )


@pytest.fixture
def make_publication(now: datetime) -> Callable[..., Publication]:
    """A publication in the session: `make_publication(session, slug="field-notes", **over)`."""
    from newsletter import store

    def make(session: Session, slug: str = "field-notes", **over: Any) -> Publication:
        values: dict[str, Any] = {
            "title": "Field Notes",
            "from_name": "Field Notes",
            "from_address": "notes@example.org",
            "postal_address": "Field Notes, 1 Meadow Lane, Exampleton",
            "privacy_url": "https://example.org/privacy",
            "privacy_version": "2026-01",
            "language": "en",
            "created_at": now,
        }
        publication = store.Publication(slug=slug, **{**values, **over})
        session.add(publication)
        session.flush()
        return publication

    return make


@pytest.fixture
def make_reader(now: datetime) -> Callable[..., Subscription]:
    """A subscription in the session, with its subscriber; no consent event goes with it.

    `make_reader(session, publication, "ada@example.net", state="pending", name="Ada")`. The same
    address again gives the same subscriber.
    """
    from newsletter import addresses, store

    def make(
        session: Session,
        publication: Publication,
        address: str,
        state: str = "confirmed",
        **over: Any,
    ) -> Subscription:
        parsed = addresses.parse(address)
        subscriber = session.query(store.Subscriber).filter_by(address_key=parsed.key).one_or_none()
        if subscriber is None:
            values: dict[str, Any] = {"language": "en", "created_at": now, **over}
            subscriber = store.Subscriber(address=parsed.spelling, address_key=parsed.key, **values)
            session.add(subscriber)
        subscription = store.Subscription(
            publication=publication,
            subscriber=subscriber,
            state=state,
            pending_since=now,
            confirmed_at=None if state == "pending" else now,
            ended_at=None if state in ("pending", "confirmed") else now,
            created_at=now,
        )
        session.add(subscription)
        session.flush()
        return subscription

    return make


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A running SMTP receiver on loopback."""
    from newsletter.mail.sink import Sink

    with Sink(None) as running:
        yield running
