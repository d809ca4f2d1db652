// Publishes each line of standard input exactly once; prints every message of the room.
// It needs Node 18 and the package ws. docs/protocol.md explains its rules.
import { randomBytes } from 'node:crypto';
import WebSocket from 'ws';

const MAX_KEPT = 1024; // lines read, but without a receipt
const MAX_SENT = 256; // of these, lines sent on this connection
const FINAL_CLOSES = [1000, 1002, 1003, 1007, 1009];
const outbox = new Map(); // id -> { text, sent }, in order
const newId = () => randomBytes(12).toString('base64url'); // nobody can guess it
let sent = 0, allowed = MAX_SENT, retryAt = 0, retryTimer = null;
let socket, live = false, caughtUp = false, lastStored = 0, textBytes = 8192;
let failures = 0, progress = false, inputEnded = false, finishing = false, readOn = null, rest = '';

function otherLog(after = 0) { position = after; lastStored = 0; caughtUp = false; }
const note = (text) => console.error(`* ${text}`);
function fail(text) { note(`${text}; ${outbox.size} lines without a receipt`); process.exit(1); }
if (!process.argv[2]) fail('usage: node chat-client.mjs ws://HOST:PORT/ROOM?name=NAME');
const url = new URL(process.argv[2]), query = url.searchParams;
query.delete('echo');
if (!query.has('after') && !query.has('backlog')) query.set('after', '0');
let epoch = query.get('epoch');
let position = query.has('after') ? Number(query.get('after')) : null; // null: not known yet

function connect() {
  let openedAt = Infinity, told = 0;
  progress = false; // a new message or a receipt on this connection
  if (position !== null) {
    query.delete('backlog');
    query.set('after', position);
    if (epoch) query.set('epoch', epoch);
  }
  socket = new WebSocket(url, 'chat.v1', { perMessageDeflate: false, handshakeTimeout: 10_000 });
  const silence = setTimeout(() => socket.terminate(), 60_000);
  for (const sign of ['ping', 'pong', 'message']) socket.on(sign, () => silence.refresh());
  socket.on('open', () => { openedAt = Date.now(); });
  socket.on('message', (data) => handle(JSON.parse(data)));
  socket.on('error', (error) => note(error.message || error.code));
  socket.on('unexpected-response', (_, { statusCode, headers }) => {
    if (![408, 429].includes(statusCode) && statusCode < 500) fail(`status ${statusCode}`);
    told = 1000 * (Number(headers['retry-after']) || 0);
    socket.terminate();
  });
  socket.on('close', (code, reason) => {
    clearTimeout(silence);
    if (finishing) process.exit();
    if (FINAL_CLOSES.includes(code) || code >= 4500) fail(`closed: ${code} ${reason}`);
    if (code === 4003) told = Number(/^(\d+) ms/.exec(reason)?.[1] ?? 0);
    [live, sent] = [false, 0];
    for (const line of outbox.values()) line.sent = false;
    if (progress || Date.now() - openedAt > 15_000) failures = 0;
    const longest = Math.min(15_000, 200 * 2 ** failures++);
    const wait = Math.round(told + 100 + (longest - 100) * Math.random());
    note(`no connection (${code}), next try in ${wait} ms`);
    setTimeout(connect, wait);
  });
}

function handle(event) {
  if (outbox.has(event.id) && event.seq) receipt(event);
  if (event.type === 'welcome') {
    if (epoch && epoch !== event.epoch && position !== null) otherLog(event.after);
    epoch = event.epoch;
    textBytes = event.limits.text_bytes;
    if (query.get('name') && !event.you.name) fail(`the name ${query.get('name')} is taken`);
  } else if (['message', 'changed', 'erased'].includes(event.type) && 'prev' in event) {
    if (event.seq <= position) return pump();
    if (position !== null && event.prev > position) note(`hole: ${position} to ${event.prev}`);
    [position, progress] = [event.seq, true];
    if (event.type === 'message') print(event);
  } else if (event.type === 'private' || event.type === 'live') {
    position = Math.max(position, event.seq);
    if (event.type === 'live') live = caughtUp = true;
  } else if (event.type === 'gap') {
    note(`gap: ${event.after} to ${event.next}, ${event.reason}`);
    if (event.reason === 'epoch') otherLog();
    position = event.next - 1;
  } else if (event.type === 'refused') refused(event);
  pump();
}

function print({ seq, from, kind, text }) {
  const said = (kind === 'me' ? '* ' : '') + text.replaceAll('\n', '\n  ');
  process.stdout.write(`${seq} ${from.name ?? from.addr}: ${said}\n`);
}

function receipt({ id, seq }) {
  if (outbox.get(id).sent) sent--;
  outbox.delete(id);
  [lastStored, progress] = [Math.max(lastStored, seq), true];
  if (allowed > 0 && allowed < MAX_SENT) allowed++;
}

function refused({ id, code, text, retry_ms }) {
  const line = outbox.get(id);
  if (!line) return code === 'name_taken' ? fail(text) : note(text);
  if (line.sent) sent--;
  line.sent = false;
  if (code === 'id_taken') { // another message has it: the line gets a new one
    const lines = [...outbox].map(([key, kept]) => [key === id ? newId() : key, kept]);
    outbox.clear();
    for (const [key, kept] of lines) outbox.set(key, kept);
  } else if (code === 'rate' || code === 'busy') {
    allowed = 0; // until every sent line has an answer and the time is over
    retryAt = Math.max(retryAt, Date.now() + (retry_ms ?? 1000));
  } else {
    note(`not published: ${line.text.slice(0, 60)} (${text})`);
    outbox.delete(id);
    process.exitCode = 1;
  }
}

function pump() {
  const again = () => { retryTimer = null; allowed = 1; pump(); };
  if (live && !allowed && !sent) retryTimer ??= setTimeout(again, retryAt - Date.now());
  let before; // the id of the line before, while it has no receipt
  for (const [id, line] of live ? outbox : []) {
    if (sent >= allowed) break;
    if (!line.sent) {
      const frame = JSON.stringify({ type: 'publish', text: line.text, id, follows: before });
      if (Buffer.byteLength(frame) > 6 * textBytes + 2048) { // the server would close for good
        refused({ id, text: 'too long' });
        return pump();
      }
      socket.send(frame);
      [line.sent, sent] = [true, sent + 1];
    }
    before = id;
  }
  if (outbox.size < MAX_KEPT) readOn?.();
  if (inputEnded && !outbox.size && caughtUp && position >= lastStored && !finishing) {
    finishing = true;
    socket.close(1000);
    setTimeout(() => process.exit(), 1000);
  }
}

const keep = (line) => line && outbox.set(newId(), { text: line, sent: false }); // '' is refused

connect();
for await (const chunk of process.stdin.setEncoding('utf8')) {
  const lines = (rest + chunk).split(/\r?\n/);
  rest = lines.pop();
  lines.forEach(keep);
  pump();
  if (outbox.size >= MAX_KEPT) await new Promise((resolve) => { readOn = resolve; });
}
keep(rest);
inputEnded = true;
pump();
