"""Articles such as a digest is made of: Markdown files, and a feed that carries whole texts.

The same number gives the same articles each time. Those that somebody wrote have headings, lists,
quotes, links, a table and pictures; those of the feed are HTML as a weblog writes it.
"""

from __future__ import annotations

import html
from random import Random

SITE = "https://fieldnotes.example.org"
_WORDS = (
    "the a of and in to that it was is on for with as at by from but not this they we had have "
    "over under again path meadow river stone bread window morning winter tower swift hedge wall "
    "light rain garden kitchen market bridge letter season apple paper corner neighbour evening "
    "walked counted found opened carried stayed turned began waited knew small old long quiet "
    "cold bright early late narrow first nobody somebody always seldom behind between"
)


def markdown(number: int) -> str:
    """A file with a front matter, of about 450 words."""
    chance = Random(number)
    items = "\n".join(f"- {_sentence(chance)}" for _ in range(4))
    rows = "\n".join(f"| {_some(chance, 2)} | {chance.randrange(500)} g |" for _ in range(4))
    return f"""---
title: {_title(chance)}
url: {SITE}/articles/{number}
published: 2026-02-{1 + number % 28:02}
author: {_title(chance, 2)}
summary: {_sentence(chance)} {_sentence(chance)}
image: {SITE}/pictures/{number}.jpg
image_alt: {_sentence(chance)}
image_credit: {_title(chance, 2)}
image_width: 1200
image_height: 675
tags: [{_some(chance, 1)}, {_some(chance, 1)}]
---

{_paragraph(chance)}

## {_title(chance)}

{_paragraph(chance)} It is *{_some(chance, 2)}*, says [{_some(chance, 3)}]({SITE}/{number}/more).

{items}

> {_paragraph(chance)}

![{_sentence(chance)}]({SITE}/pictures/{number}-2.jpg)

| {_some(chance, 1)} | {_some(chance, 1)} |
|---|---:|
{rows}

{_paragraph(chance)}[^1] It is **{_some(chance, 2)}**.

[^1]: {_sentence(chance)}
"""


def feed(numbers: range) -> bytes:
    """RSS 2.0 with whole texts (content:encoded) and pictures (media:content)."""
    items = "".join(map(_item, numbers))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:media="http://search.yahoo.com/mrss/">
<channel><title>The Other Bank</title><link>{SITE}/blog/</link><language>en</language>{items}
</channel></rss>""".encode()


def _item(number: int) -> str:
    chance = Random(number)
    items = "".join(f"<li>{_sentence(chance)}</li>" for _ in range(4))
    body = f"""<p>{_paragraph(chance)}</p>
<figure class="wp-block-image size-large"><img loading="lazy" width="1024" height="683"
 src="{SITE}/blog/{number}.jpg" alt="{_sentence(chance)}" srcset="{SITE}/blog/{number}-s.jpg 300w"
 sizes="(max-width: 1024px) 100vw, 1024px" /><figcaption>{_title(chance)}</figcaption></figure>
<h2 class="wp-block-heading" style="color:#123456">{_title(chance)}</h2>
<p>{_paragraph(chance)} <a href="/blog/{number - 1}/" rel="noopener">{_some(chance, 3)}</a>.</p>
<ul class="wp-block-list">{items}</ul>
<blockquote class="wp-block-quote"><p>{_paragraph(chance)}</p></blockquote>
<p>{_paragraph(chance)}</p><img src="{SITE}/pixel.gif?{number}" width="1" height="1" alt="">"""
    return f"""
<item><title>{_title(chance)}</title><link>{SITE}/blog/{number}/?utm_source=rss</link>
<guid isPermaLink="false">{SITE}/?p={number}</guid><dc:creator>{_title(chance, 2)}</dc:creator>
<pubDate>Mon, {1 + number % 28:02} Feb 2026 08:00:00 +0000</pubDate>
<category>{_some(chance, 1)}</category><category>{_some(chance, 1)}</category>
<description>{html.escape(f"<p>{_sentence(chance)} {_sentence(chance)}</p>")}</description>
<media:content url="{SITE}/blog/{number}.jpg" medium="image" width="1024" height="683" />
<content:encoded><![CDATA[{body}]]></content:encoded></item>"""


def _some(chance: Random, count: int) -> str:
    return " ".join(chance.choices(_WORDS.split(), k=count))


def _title(chance: Random, count: int = 5) -> str:
    return _some(chance, count).title()


def _sentence(chance: Random) -> str:
    return f"{_some(chance, chance.randrange(8, 18)).capitalize()}."


def _paragraph(chance: Random) -> str:
    return " ".join(_sentence(chance) for _ in range(chance.randrange(4, 7)))
