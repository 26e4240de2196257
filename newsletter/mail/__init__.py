"""Letters: written from templates, built into bytes, handed to a relay."""
