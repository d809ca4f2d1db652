import assert from "node:assert/strict";
import { test } from "node:test";

import { Client } from "../../src/http/page/client.mjs";

/** A fake world: the test advances its clock and holds its sockets. */
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

test("a new connection resumes and sends unstored messages again", () => {
  const { client, told, around, socket } = conversation();
  assert.equal(socket().url, "ws://h/tea?backlog=100");
  client.push(say("a"));
  assert.deepEqual(ids(socket()), [], "nothing is sent before the welcome");
  socket().tell(welcome(7));
  socket().tell({ type: "live", seq: 7 });
  client.push(say("b"));
  assert.deepEqual(ids(socket()), ["a", "b"]);
  socket().tell({ type: "message", seq: 8, prev: 7, id: "a" });
  assert.equal(client.unconfirmed, 1);
  socket().end(1006);
  assert.equal(told.at(-1), "offline");
  around.pass(200);
  assert.equal(socket().url, "ws://h/tea?after=8&epoch=e");
  socket().tell(welcome(9));
  assert.deepEqual(ids(socket()), ["b"]);
  // The server had stored it: the replay and the receipt both say so.
  socket().tell({ type: "message", seq: 9, prev: 8, id: "b" });
  socket().tell({ type: "accepted", id: "b", seq: 9, duplicate: true });
  socket().tell({ type: "message", seq: 9, prev: 8, id: "b" });
  assert.equal(told.filter((type) => type === "message").length, 2);
  assert.equal(told.filter((type) => type === "stored").length, 2);
  assert.equal(client.unconfirmed, 0);
});

test("a reconnect delay is obeyed, a final close is final", () => {
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

test("reading restarts in another log or after too many misses", () => {
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
    assert.ok(told.includes("restart") && !told.includes("gap") && !told.includes("message"));
    socket().tell(other);
    assert.deepEqual(ids(socket()), ["join", "a"]);
    socket().tell({ type: "message", seq: other.head, prev: 3 });
    assert.deepEqual(told.slice(-2), ["catching up", "message"]);
  }
});

test("an unexplained hole is reported", () => {
  const { told, socket } = conversation();
  socket().tell(welcome(7));
  socket().tell({ type: "live", seq: 7 });
  socket().tell({ type: "message", seq: 12, prev: 11 });
  assert.deepEqual(told.slice(-2), ["hole", "message"]);
  socket().tell({ type: "gap", after: 12, next: 20, reason: "erased" });
  socket().tell({ type: "message", seq: 20, prev: 19 });
  assert.deepEqual(told.slice(-2), ["gap", "message"]);
  // An erased message in its place in the replay, and one erased live.
  socket().tell({ type: "erased", seq: 21, prev: 20 });
  socket().tell({ type: "message", seq: 22, prev: 21 });
  socket().tell({ type: "erased", seq: 20 });
  assert.deepEqual(told.slice(-3), ["erased", "message", "erased"]);
});

test("a temporary refusal is retried, a final one reported", () => {
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
  assert.equal(client.unconfirmed, 1);
});

test("a message whose id is taken is sent again under a new one", () => {
  const { client, told, around, socket } = conversation();
  socket().tell(welcome(7));
  for (const id of ["a", "b", "c"]) client.push(say(id));
  socket().tell({ type: "refused", code: "id_taken", id: "a", text: "another's" });
  socket().tell({ type: "refused", code: "busy", id: "b", text: "later", retry_ms: 1 });
  socket().tell({ type: "refused", code: "busy", id: "c", text: "later", retry_ms: 1 });
  around.pass(10_000);
  assert.deepEqual(ids(socket()), ["a", "b", "c"], "the new id is not kept yet");
  assert.ok(told.includes("taken") && !told.includes("unstored"));
  client.renew("a", "a-2");
  around.pass(0);
  assert.deepEqual(ids(socket()).slice(3), ["a-2"]);
  socket().tell({ type: "message", seq: 8, prev: 7, id: "a-2" });
  assert.deepEqual(ids(socket()).slice(4), ["b", "c"]);
  assert.equal(socket().sent[4].follows, "a-2");
  for (const [seq, id] of [[9, "b"], [10, "c"]]) socket().tell({ type: "message", seq, prev: seq - 1, id });
  assert.equal(client.unconfirmed, 0);
});

test("a message sent under a name is never sent again without it", () => {
  const { client, told, around, socket } = conversation({ name: "ana", secret: "0123456789abcdef" });
  socket().tell(welcome(0, { you: { name: "ana", addr: "127.0.0.1:5" } }));
  assert.equal(client.speaker, "ana");
  client.push(say("a"));
  socket().end(1006);
  client.push(say("b"));
  around.pass(200);
  socket().tell(welcome(0));
  socket().tell({ type: "refused", code: "name_taken", text: "another's" });
  assert.deepEqual(ids(socket()), ["b"], "it was never sent as ana");
  assert.deepEqual(told.slice(-2), ["unstored", "unnamed"]);
  assert.deepEqual([client.unconfirmed, client.speaker], [1, null]);
});

test("messages wait until the name is accepted or refused", () => {
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
  assert.deepEqual(ids(socket()), ["a"], "the messages before the name go first");
  socket().tell({ type: "accepted", id: "a", seq: 1 });
  socket().tell({ type: "name", name: "bob" });
  socket().end(1006);
  around.pass(1000);
  assert.ok(socket().url.endsWith("&name=bob"));
});

test("a silent server is probed, then given up", async () => {
  const { client, around, socket, told } = conversation();
  socket().tell(welcome(0));
  socket().tell({ type: "live", seq: 0 });
  around.pass(60_000);
  assert.deepEqual(ids(socket()), ["members"]);
  socket().tell({ type: "members", names: [], total: 1, ref: socket().sent[0].ref });
  around.pass(20_000);
  assert.equal(around.sockets.length, 1);
  // As after a laptop was closed.
  client.wake();
  around.pass(9_999);
  assert.equal(told.at(-1), "members");
  around.pass(1);
  assert.equal(told.at(-1), "offline");
  client.wake();
  assert.equal(around.sockets.length, 2);
});

test("a question gets its answer, or fails with a sentence", async () => {
  const { client, socket } = conversation();
  await assert.rejects(client.ask({ type: "rooms" }), /no connection/);
  socket().tell(welcome(0));
  const page = client.ask({ type: "search", query: "x" });
  const rooms = client.ask({ type: "rooms" });
  const [{ ref: first }, { ref: second }] = socket().sent;
  // The answers may come in any order.
  socket().tell({ type: "rooms", rooms: [], total: 0, ref: second });
  socket().tell({ type: "refused", code: "too_long", text: "rarer words", ref: first });
  await assert.rejects(page, /rarer words/);
  assert.equal((await rooms).total, 0);
  const lost = client.ask({ type: "rooms" });
  socket().end(1006);
  await assert.rejects(lost, /lost/);
});

test("an event without a ref answers no question", async () => {
  const { client, socket, told } = conversation();
  socket().tell(welcome(0));
  const members = client.ask({ type: "members" });
  const topic = client.ask({ type: "topic", text: "tea" });
  const [{ ref: first }, { ref: second }] = socket().sent;
  // A crowded room gets its count unasked, and others set topics.
  socket().tell({ type: "members", total: 400 });
  socket().tell({ type: "topic", room: "tea", text: "milk" });
  socket().tell({ type: "refused", code: "name_taken", text: "another's" });
  assert.deepEqual(told.slice(-3), ["members", "topic", "refused"]);
  socket().tell({ type: "members", names: ["ana"], total: 400, ref: first });
  socket().tell({ type: "topic", room: "tea", text: "tea", ref: second });
  assert.deepEqual((await members).names, ["ana"]);
  assert.equal((await topic).text, "tea");
});

test("a refused question does not refuse the name", () => {
  const { client, socket } = conversation();
  socket().tell(welcome(0));
  client.ask({ type: "members" }).catch(() => {});
  client.push({ type: "name", name: "bob", secret: "0123456789abcdef" });
  client.push(say("a"));
  const [{ ref }] = socket().sent;
  socket().tell({ type: "refused", code: "rate", text: "later", ref });
  assert.deepEqual(ids(socket()), ["members", "name"], "the name of the sender is not known yet");
  socket().tell({ type: "name", name: "bob" });
  assert.deepEqual(ids(socket()), ["members", "name", "a"]);
});
