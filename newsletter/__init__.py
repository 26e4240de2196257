"""A self-hosted newsletter service: sign-up with proof of consent, digests, and their sending."""

__version__ = "0.1.0"
