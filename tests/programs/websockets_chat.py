"""A WebSocket of the package websockets. It obeys the lines of standard input and
prints its events as lines of JSON."""

import json
import sys
import threading

from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect


def tell(*told):
    print(json.dumps(told), flush=True)


def ping(chat, data):
    chat.ping(data).wait()
    tell("pong", data)


def obey(chat):
    orders = {
        "say": lambda text: chat.send(text),
        "fragments": lambda text: chat.send(iter(text)),
        "ping": lambda data: ping(chat, data),
        "close": lambda _: chat.close(),
    }
    for line in sys.stdin:
        order, _, rest = line.rstrip("\n").partition(" ")
        orders[order](rest)


def main(url, *protocols):
    try:
        chat = connect(url, subprotocols=protocols or None, proxy=None)
    except InvalidStatus as refused:
        return tell("refused", refused.response.status_code)
    tell("open", chat.subprotocol, chat.response.headers.get("Sec-WebSocket-Extensions"))
    threading.Thread(target=obey, args=(chat,), daemon=True).start()
    try:
        for text in chat:
            tell("binary" if isinstance(text, bytes) else "text", text)
    except ConnectionClosedError:
        pass
    tell("closed", chat.close_code, chat.close_reason)


main(*sys.argv[1:])
