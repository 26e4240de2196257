"""`newsletter demo`: the whole journey on one machine, over real HTTP and SMTP, in a minute."""

from newsletter.cli.demo.command import demo

__all__ = ["demo"]
