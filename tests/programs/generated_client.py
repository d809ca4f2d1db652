"""Talks to a chat by the client that openapi-python-client generated."""

import sys

from broadcast_chat_client import AuthenticatedClient, Client
from broadcast_chat_client.api.default import health, read, say
from broadcast_chat_client.models import Erased, Kind, Message, Page, Said, Stored

url = sys.argv[1]
# Without this header a room answers with lines.
headers = {"Accept": "application/json"}

with Client(url, headers=headers, raise_on_unexpected_status=True) as chat:
    assert health.sync(client=chat) == "ok\n"
    first = say.sync(
        "tea", client=chat, body=Said(text="hello"), name="ana", idempotency_key="key-1"
    )
    assert isinstance(first, Stored) and first.seq == 1, first
    again = say.sync(
        "tea", client=chat, body=Said(text="hello"), name="ana", idempotency_key="key-1"
    )
    assert isinstance(again, Stored) and again.seq == 1 and again.duplicate is True, again
    waved = say.sync("tea", client=chat, body=Said(text="waves"), name="ana", kind=Kind.ME)
    assert isinstance(waved, Stored), waved

    page = read.sync("tea", client=chat, after=0, limit=10)
    assert isinstance(page, Page), page
    assert page.more is False and page.head == 2
    one, two = page.messages
    assert isinstance(one, Message) and not isinstance(one, Erased)
    assert (one.text, one.from_.name, one.from_.unverified) == ("hello", "ana", True)
    assert (two.text, two.kind, two.prev) == ("waves", Kind.ME, one.seq)
    assert one.at.year >= 2026

    refused = say.sync("tea", client=chat, body=Said(text=""))
    assert isinstance(refused, str) and refused, refused

with AuthenticatedClient(url, token="the-secret-of-bob", headers=headers) as owner:
    own = say.sync("tea", client=owner, body=Said(text="mine"), name="bob")
    assert isinstance(own, Stored), own
    page = read.sync("tea", client=owner, after=own.seq - 1)
    assert not page.messages[0].from_.unverified, page

print("done")
