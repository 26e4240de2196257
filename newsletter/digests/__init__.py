"""Articles in, digests out: reading Markdown, composing, previewing, approving."""
