"""The edge towards browsers and mail clients: every page, and the server that gives them out.

Flask lives here and nowhere else. A view reads the request, calls one story, and answers.
"""

from newsletter.web.app import create_app, create_app_from_environment
from newsletter.web.server import Server, make_server, run_until_stopped, serve

__all__ = [
    "Server",
    "create_app",
    "create_app_from_environment",
    "make_server",
    "run_until_stopped",
    "serve",
]
