"""The forms that visitors and readers fill in: what they must hold, and what is said when not.

The words that stand beside a field are in the templates; here are the words for what is wrong
with it.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from werkzeug.datastructures import MultiDict
from wtforms import BooleanField, Field, Form, SelectField, StringField, ValidationError

from newsletter import addresses
from newsletter.addresses import Address
from newsletter.consent import Wording, wording_of
from newsletter.errors import BadInput
from newsletter.i18n import languages
from newsletter.store import Publication
from newsletter.web import language
from newsletter.web.language import gettext as _

MAX_NAME = 200


def one_line(text: str | None) -> str:
    """Text as one line: control characters and line ends out, runs of blanks to one."""
    kept = (
        " " if char.isspace() else char
        for char in text or ""
        if char.isspace() or unicodedata.category(char) not in ("Cc", "Cf", "Co", "Cs", "Cn")
    )
    return " ".join("".join(kept).split())


def _check_name(field: Field) -> None:
    if len(field.data or "") > MAX_NAME:
        raise ValidationError(
            _("Shorten the name to at most %(number)s characters.") % {"number": MAX_NAME}
        )


class _OurForm(Form):
    """WTForms' own messages never show: each form says its own, in the page's language."""

    def faults(self) -> list[tuple[str, str]]:
        """What is wrong: the field's name and the words, in the order of the form."""
        return [(field.name, str(field.errors[0])) for field in self if field.errors]


class SignupForm(_OurForm):
    """Signing up. `address` is set once the form is valid."""

    email = StringField()
    name = StringField(filters=[one_line])
    consent = BooleanField()
    wording = StringField()
    # "embed" when the form stands on somebody else's site.
    origin = StringField()
    # Off the screen: a person leaves it empty, a program that fills in all fields does not.
    homepage = StringField()

    address: Address | None = None
    shown: Wording | None = None

    def __init__(self, publication: Publication, fields: MultiDict[str, str] | None = None) -> None:
        super().__init__(fields)
        self.publication = publication

    @property
    def is_trapped(self) -> bool:
        """Whether a field was filled in that nobody can see."""
        return bool(self.homepage.data)

    @property
    def spoken(self) -> str:
        """The language in which the person signs up.

        A form on somebody else's site speaks the language of its wording, whatever the browser
        asks for; an operator's own wording has one language only, and says nothing of the form's.
        """
        if self.shown is None or self.publication.consent_wording is not None:
            return language.current()
        return self.shown.language

    def validate_email(self, field: StringField) -> None:
        """An address that mail can go to."""
        typed = (field.data or "").strip()
        if not typed:
            raise ValidationError(_("Enter your email address."))
        try:
            self.address = addresses.parse(typed)
        except BadInput as error:
            raise ValidationError(
                _("Enter an email address in the correct format, like name@example.org.")
            ) from error

    def validate_name(self, field: StringField) -> None:
        """A name is optional, and not a letter."""
        _check_name(field)

    def validate_consent(self, field: BooleanField) -> None:
        """Consent is given by ticking, and only to words that we know we showed."""
        if not field.data:
            raise ValidationError(
                _("Tick this box to sign up. Without it we may not write to you.")
            )
        self.shown = wording_shown(self.publication, self.wording.data or "")
        if self.shown is None:
            field.data = False
            raise ValidationError(
                _(
                    "The text beside this box has changed since the form was shown to you. "
                    "Please read it again, and tick the box if you agree."
                )
            )


def wording_shown(publication: Publication, version: str) -> Wording | None:
    """Today's wording that has this version; its language is that of the form that showed it.

    None: the version is not one of today's, so nobody knows what the person read.
    """
    here = language.current()
    order = (here, publication.language, *languages())
    for tag in dict.fromkeys(order):
        wording = wording_of(publication, tag)
        if wording.version == version:
            return wording
    return None


class DetailsForm(_OurForm):
    """A reader's name and language."""

    name = StringField(filters=[one_line])
    language = SelectField(validate_choice=False)

    def __init__(self, fields: MultiDict[str, str] | None = None, **values: Any) -> None:
        super().__init__(fields, **values)
        self.language.choices = language.names()

    def validate_name(self, field: StringField) -> None:
        """A name is optional, and not a letter."""
        _check_name(field)

    def validate_language(self, field: SelectField) -> None:
        """One of the languages that we have."""
        if field.data not in languages():
            raise ValidationError(_("Choose one of the languages in the list."))


class ForgetForm(_OurForm):
    """Being forgotten, which cannot be taken back: the box is asked for."""

    sure = BooleanField()

    def validate_sure(self, field: BooleanField) -> None:
        """The reader knows what happens."""
        if not field.data:
            raise ValidationError(_("Tick this box if you want to be forgotten."))
