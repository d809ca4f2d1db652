import assert from "node:assert/strict";
import { test } from "node:test";

import { Client } from "../../src/http/page/client.mjs";

/** A world whose time passes when the test says so, and whose sockets it holds. */
function world() {
  const sockets = [];
  const alarms = new Set();
  let now = 0;
  return {
    sockets,
    now: () => now,
    after(ms, then) {
      const alarm = { at: now + ms, then };
      alarms.add(alarm);
      return () => alarms.delete(alarm);
    },
    pass(ms) {
      const until = now + ms;
      for (;;) {
        const next = [...alarms].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
        if (!next) break;
        alarms.delete(next);
        now = next.at;
        next.then();
      }
      now = until;
    },
    open(url, protocols) {
      const socket = {
        url,
        protocols,
        sent: [],
        bufferedAmount: 0,
        send: (text) => socket.sent.push(JSON.parse(text)),
        close() {},
        tell: (event) => socket.onmessage({ data: JSON.stringify(event) }),
        end: (code, reason = "") => socket.onclose({ code, reason }),
      };
      sockets.push(socket);
      return socket;
    },
  };
}

const welcome = (head, more = {}) => ({
  type: "welcome",
  room: "tea",
  you: { addr: "127.0.0.1:5" },
  epoch: "e",
  head,
  members: 1,
  limits: { text_bytes: 8192 },
  ...more,
});

function conversation(name = null) {
  const around = world();
  const told = [];
  const client = new Client({
    url: "ws://h/tea",
    name,
    tell: (event) => told.push(event.type === "state" ? event.state : event.type),
    world: around,
  });
  client.connect();
  return { client, told, around, socket: () => around.sockets.at(-1) };
}

const say = (id) => ({ type: "publish", text: id, id });
const ids = (socket) => socket.sent.map(({ id, type }) => id ?? type);

test("after a break it goes on where it was, and says again what is not stored", () => {
  const { client, told, around, socket } = conversation();
  assert.equal(socket().url, "ws://h/tea?backlog=100");
  client.push(say("a"));
  assert.deepEqual(ids(socket()), [], "nothing is said before the welcome");
  socket().tell(welcome(7));
  socket().tell({ type: "live", seq: 7 });
  client.push(say("b"));
  assert.deepEqual(ids(socket()), ["a", "b"]);
  socket().tell({ type: "message", seq: 8, prev: 7, id: "a" });
  assert.equal(client.unsent, 1);
  socket().end(1006);
  assert.equal(told.at(-1), "offline");
  around.pass(200);
  assert.equal(socket().url, "ws://h/tea?after=8&epoch=e");
  socket().tell(welcome(9));
  assert.deepEqual(ids(socket()), ["b"]);
  // It had been stored: the replay and the receipt both say so.
  socket().tell({ type: "message", seq: 9, prev: 8, id: "b" });
  socket().tell({ type: "accepted", id: "b", seq: 9, duplicate: true });
  socket().tell({ type: "message", seq: 9, prev: 8, id: "b" });
  assert.equal(told.filter((type) => type === "message").length, 2);
  assert.equal(told.filter((type) => type === "stored").length, 2);
  assert.equal(client.unsent, 0);
});

test("a server that goes away says when to come back; one that is through with it is left alone", () => {
  const { told, around, socket } = conversation();
  socket().tell(welcome(0));
  socket().end(4003, "700 ms: the server restarts");
  around.pass(699);
  assert.equal(around.sockets.length, 1);
  around.pass(1);
  assert.equal(around.sockets.length, 2);
  socket().tell(welcome(0));
  socket().end(4501, "spam");
  around.pass(1_000_000);
  assert.deepEqual([around.sockets.length, told.at(-1)], [2, "ended"]);
});

test("another log, and too much that was missed, are shown from their end", () => {
  for (const other of [welcome(7, { epoch: "f" }), welcome(9000)]) {
    const { client, told, around, socket } = conversation();
    socket().tell(welcome(7));
    socket().tell({ type: "live", seq: 7 });
    client.push(say("a"));
    socket().end(1006);
    around.pass(200);
    socket().tell(other);
    assert.deepEqual(socket().sent, [{ type: "join", room: "tea", backlog: 100 }]);
    socket().tell({ type: "gap", after: 7, next: 1, reason: "epoch" });
    socket().tell({ type: "message", seq: 1, prev: 0 });
    socket().tell({ type: "live", seq: 1 });
    assert.ok(told.includes("anew") && !told.includes("gap") && !told.includes("message"));
    socket().tell(other);
    assert.deepEqual(ids(socket()), ["join", "a"]);
    socket().tell({ type: "message", seq: other.head, prev: 3 });
    assert.deepEqual(told.slice(-2), ["catching up", "message"]);
  }
});

test("a hole that nobody explains is told", () => {
  const { told, socket } = conversation();
  socket().tell(welcome(7));
  socket().tell({ type: "live", seq: 7 });
  socket().tell({ type: "message", seq: 12, prev: 11 });
  assert.deepEqual(told.slice(-2), ["hole", "message"]);
  socket().tell({ type: "gap", after: 12, next: 20, reason: "erased" });
  socket().tell({ type: "message", seq: 20, prev: 19 });
  assert.deepEqual(told.slice(-2), ["gap", "message"]);
  // Erased in its place in the replay, and later.
  socket().tell({ type: "erased", seq: 21, prev: 20 });
  socket().tell({ type: "message", seq: 22, prev: 21 });
  socket().tell({ type: "erased", seq: 20 });
  assert.deepEqual(told.slice(-3), ["erased", "message", "erased"]);
});

test("a refusal for now is sent again, one for good is told", () => {
  const { client, told, around, socket } = conversation();
  socket().tell(welcome(7));
  client.push(say("a"));
  client.push(say("b"));
  socket().tell({ type: "refused", code: "rate", id: "a", text: "slower", retry_ms: 500 });
  socket().tell({ type: "refused", code: "rate", id: "b", text: "slower", retry_ms: 500 });
  around.pass(499);
  assert.deepEqual(ids(socket()), ["a", "b"]);
  around.pass(1);
  assert.deepEqual(ids(socket()), ["a", "b", "a"]);
  socket().tell({ type: "refused", code: "too_long", id: "a", text: "no" });
  assert.equal(told.at(-1), "unstored");
  assert.equal(client.unsent, 1);
});

test("a name goes along, and nothing is said before it is known to be carried", () => {
  const { client, told, around, socket } = conversation({ name: "ana", secret: "0123456789abcdef" });
  assert.equal(socket().url, "ws://h/tea?backlog=100&name=ana");
  assert.deepEqual(socket().protocols, ["chat.v1", "secret.MDEyMzQ1Njc4OWFiY2RlZg"]);
  client.push(say("a"));
  socket().tell(welcome(0));
  assert.deepEqual(ids(socket()), []);
  socket().tell({ type: "refused", code: "busy", text: "later", retry_ms: 300 });
  around.pass(300);
  socket().tell(welcome(0));
  socket().tell({ type: "refused", code: "name_taken", text: "another's" });
  assert.deepEqual([ids(socket()), told.at(-1)], [["a"], "unnamed"]);
  client.push({ type: "name", name: "bob", secret: "fedcba9876543210" });
  assert.deepEqual(ids(socket()), ["a"], "first what was said before");
  socket().tell({ type: "accepted", id: "a", seq: 1 });
  socket().tell({ type: "name", name: "bob" });
  socket().end(1006);
  around.pass(1000);
  assert.ok(socket().url.endsWith("&name=bob"));
});

test("who is silent is asked, and given up", async () => {
  const { client, around, socket, told } = conversation();
  socket().tell(welcome(0));
  socket().tell({ type: "live", seq: 0 });
  around.pass(60_000);
  assert.deepEqual(ids(socket()), ["members"]);
  socket().tell({ type: "members", names: [], total: 1, ref: socket().sent[0].ref });
  around.pass(20_000);
  assert.equal(around.sockets.length, 1);
  // A laptop that was closed.
  client.wake();
  around.pass(9_999);
  assert.equal(told.at(-1), "members");
  around.pass(1);
  assert.equal(told.at(-1), "offline");
  client.wake();
  assert.equal(around.sockets.length, 2);
});

test("a question has its answer, or fails with a sentence", async () => {
  const { client, socket } = conversation();
  await assert.rejects(client.ask({ type: "rooms" }), /no connection/);
  socket().tell(welcome(0));
  const page = client.ask({ type: "search", query: "x" });
  const rooms = client.ask({ type: "rooms" });
  const [{ ref: first }, { ref: second }] = socket().sent;
  // Whichever comes first.
  socket().tell({ type: "rooms", rooms: [], total: 0, ref: second });
  socket().tell({ type: "refused", code: "too_long", text: "rarer words", ref: first });
  await assert.rejects(page, /rarer words/);
  assert.equal((await rooms).total, 0);
  const lost = client.ask({ type: "rooms" });
  socket().end(1006);
  await assert.rejects(lost, /lost/);
});

test("what nobody asked for answers no question", async () => {
  const { client, socket, told } = conversation();
  socket().tell(welcome(0));
  const members = client.ask({ type: "members" });
  const topic = client.ask({ type: "topic", text: "tea" });
  const [{ ref: first }, { ref: second }] = socket().sent;
  // A crowded room is told its count now and then, and others set topics.
  socket().tell({ type: "members", total: 400 });
  socket().tell({ type: "topic", room: "tea", text: "milk" });
  socket().tell({ type: "refused", code: "name_taken", text: "another's" });
  assert.deepEqual(told.slice(-3), ["members", "topic", "refused"]);
  socket().tell({ type: "members", names: ["ana"], total: 400, ref: first });
  socket().tell({ type: "topic", room: "tea", text: "tea", ref: second });
  assert.deepEqual((await members).names, ["ana"]);
  assert.equal((await topic).text, "tea");
});

test("a refused question is no refused name", () => {
  const { client, socket } = conversation();
  socket().tell(welcome(0));
  client.ask({ type: "members" }).catch(() => {});
  client.push({ type: "name", name: "bob", secret: "0123456789abcdef" });
  client.push(say("a"));
  const [{ ref }] = socket().sent;
  socket().tell({ type: "refused", code: "rate", text: "later", ref });
  assert.deepEqual(ids(socket()), ["members", "name"], "it is not known yet who says it");
  socket().tell({ type: "name", name: "bob" });
  assert.deepEqual(ids(socket()), ["members", "name", "a"]);
});
