"""Whose look a page has that no view knows a publication for, such as one that says "not found"."""

from __future__ import annotations

import re

from flask import request
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from newsletter.store import Publication
from newsletter.web.site import reading

# What a publication's slug can be; /favicon.ico is not asked of the database.
SLUG = "[a-z0-9][a-z0-9-]{0,63}"
_ADDRESS = re.compile(rf"/({SLUG})(?:/|\Z)")


def publication() -> Publication | None:
    """The publication whose address begins as this request's does, or the only one that there is.

    None when there are several, or none, or when nobody can tell: this is asked for pages about
    faults, and must not bring another one.
    """
    named = _ADDRESS.match(request.path)
    try:
        with reading() as session:
            found = None
            if named:
                query = select(Publication).where(Publication.slug == named[1])
                found = session.scalars(query).one_or_none()
            if found is None:
                first = session.scalars(select(Publication).limit(2)).all()
                found = first[0] if len(first) == 1 else None
            return found
    except SQLAlchemyError:
        return None
