"""Feeds in: RSS, Atom and JSON Feed become articles, whoever wrote them and however badly."""
