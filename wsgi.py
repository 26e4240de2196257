"""The web app for any WSGI server: `gunicorn wsgi:app`; NEWSLETTER_CONFIG names the settings."""

from newsletter.web import create_app_from_environment

app = create_app_from_environment()
