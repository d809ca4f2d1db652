"""Publishes each line of standard input exactly once; prints every message of the room.
It needs Python 3.11 and the package websockets. docs/protocol.md explains its rules.
"""
import asyncio, json, random, secrets, sys, threading, time
from urllib.parse import parse_qsl, urlencode
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

WINDOW = 256  # the most lines without a receipt
FINAL = (1000, 1002, 1003, 1007, 1009)  # close codes that forbid to come back, as from 4500 on


def tell(text):
    print("*", text, file=sys.stderr, flush=True)


def number(text):
    return int(text) if text and text.isdecimal() else 0


class Client:
    def __init__(self, url):
        self.base, _, query = url.partition("?")
        self.query = {key: value for key, value in parse_qsl(query) if key == "name"}
        self.position = self.last_own = 0  # the last number shown; the last of our own
        self.pending = {}  # id -> line without a receipt, in the order of standard input
        self.on_way = set()  # the ids sent on this connection and not answered
        self.window = WINDOW  # how many may be on the way
        self.retry_at = 0  # after a refusal for now: when to send again
        self.live = self.eof = self.failed = self.progress = False
        self.wake, self.free = asyncio.Event(), threading.Semaphore(WINDOW)

    def read_stdin(self, loop):
        for raw in open(0, "rb", closefd=False):
            self.free.acquire()
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            loop.call_soon_threadsafe(self.add, secrets.token_urlsafe(12), line)
        loop.call_soon_threadsafe(self.add, None, None)

    def add(self, id, line):
        self.pending |= {id: line} if id else {}
        self.eof = id is None
        self.wake.set()

    def done(self):
        return self.eof and self.live and not self.pending and self.position >= self.last_own

    def receipt(self, id, seq):
        if self.pending.pop(id, None) is not None:
            self.on_way.discard(id)
            self.free.release()
            self.last_own, self.progress = max(self.last_own, seq), True
            self.window = min(self.window + 1, WINDOW)

    def handle(self, event):
        kind, seq, id = event["type"], event.get("seq", 0), event.get("id")
        self.wake.set()
        if kind in ("message", "changed", "erased", "accepted"):
            self.receipt(id, seq)
        if kind == "welcome":
            if self.query.get("epoch", event["epoch"]) != event["epoch"]:
                self.position, self.last_own = event.get("after", 0), 0  # another log
            self.query["epoch"], self.text_bytes = event["epoch"], event["limits"]["text_bytes"]
        elif kind in ("message", "changed", "erased") and "prev" in event and seq > self.position:
            if event["prev"] > self.position:
                tell(f"a hole between {self.position} and {seq}")
            if kind == "message":
                author, text = event["from"], event["text"].replace("\n", "\n  ")
                print(f"{seq} {author.get('name') or author['addr']}: {text}", flush=True)
            self.position, self.progress = seq, True
        elif kind in ("live", "private"):
            self.position = max(self.position, seq)
            self.live = self.live or kind == "live"
        elif kind == "gap":
            tell(f"no messages between {event['after']} and {event['next']}: {event['reason']}")
            self.position = event["next"] - 1
            self.last_own = 0 if event["reason"] == "epoch" else self.last_own
        elif kind == "refused" and id is None:
            sys.exit(f"* {event['text']}")  # the name: better no line than one without it
        elif kind == "refused" and event["code"] in ("rate", "busy", "id_taken"):
            self.on_way.discard(id)
            if event["code"] == "id_taken":  # another message has it: the line gets a new one
                new = {id: secrets.token_urlsafe(12)}
                self.pending = {new.get(key, key): line for key, line in self.pending.items()}
            retry_at = time.monotonic() + event.get("retry_ms", 1000) / 1000
            self.retry_at, self.window = max(self.retry_at, retry_at), 1
        elif kind == "refused":
            tell(f"not published: {event['text']} {self.pending.get(id, '')[:60]!r}")
            self.failed = True
            self.receipt(id, 0)

    async def publish(self, ws, before=None):
        while not self.done():
            self.wake.clear()
            if self.retry_at and not self.on_way:
                await asyncio.sleep(self.retry_at - time.monotonic())
                self.retry_at = 0
            for id, text in list(self.pending.items()) if self.live else ():
                if self.retry_at or len(self.on_way) >= self.window:
                    break
                if len(text.encode()) > self.text_bytes:  # a frame far too long ends the connection
                    self.handle({"type": "refused", "code": "too_long", "text": "too long", "id": id})
                elif id in self.pending and id not in self.on_way:
                    follows = {"follows": before} if self.on_way else {}
                    self.on_way.add(before := id)
                    await ws.send(json.dumps({"type": "publish", "text": text, "id": id} | follows))
            await self.wake.wait()
        await ws.close()

    async def talk(self):
        self.live, self.on_way = False, set()
        url = self.base + "?" + urlencode(self.query | {"after": self.position})
        async with connect(url, subprotocols=["chat.v1"], compression=None, max_size=2**24) as ws:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self.publish(ws))
                    while True:
                        self.handle(json.loads(await ws.recv()))
            except* ConnectionClosed:
                pass
        if not self.done():
            tell(f"disconnected: {ws.close_code} {ws.close_reason}")
            if ws.close_code in FINAL or ws.close_code >= 4500:
                sys.exit(1)
        return number(ws.close_reason.partition(" ms")[0]) / 1000 if ws.close_code == 4003 else 0

    async def run(self):
        threading.Thread(target=self.read_stdin, args=[asyncio.get_running_loop()], daemon=True).start()
        bound = 0.2
        while True:
            began, told, self.progress = time.monotonic(), 0, False
            try:
                told = await self.talk()
            except InvalidStatus as error:
                if error.response.status_code not in (408, 429, 500, 502, 503, 504):
                    sys.exit(f"* {error}: {(error.response.body or b'').decode()}")
                told = number(error.response.headers.get("Retry-After"))
            except (OSError, EOFError, WebSocketException) as error:
                tell(f"cannot connect: {error}")
            if self.done():
                return 1 if self.failed else 0
            bound = 0.2 if self.progress or time.monotonic() - began > 15 else bound
            await asyncio.sleep(told + random.uniform(0.1, bound))
            bound = min(2 * bound, 15)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].startswith(("ws://", "wss://")):
        sys.exit("usage: chat_client.py 'ws://HOST:PORT/ROOM?name=NAME'")
    sys.exit(asyncio.run(Client(sys.argv[1]).run()))
