// The page of a room: shows the events of the conversation, and sends the user's
// messages and commands.

import { Attention } from "./attention.mjs";
import { Client } from "./client.mjs";
import { Composer } from "./composer.mjs";
import { $, el, show } from "./dom.mjs";
import { Shelf, inbox, names, randomId } from "./keep.mjs";
import { Panels, Search, askName, askRoom, showPeople, showRooms } from "./panels.mjs";
import { draw, drawUnsent } from "./row.mjs";
import { messageRow } from "./rows.mjs";
import { dayName, mentions, nameKey } from "./text.mjs";
import { parse } from "./typed.mjs";
import { View } from "./view.mjs";

/** The most messages of a history page. */
const EXCERPT = 200;

/** How far back the page looks for a message, in rows. */
const FAR_BACK = 90_000;

/** How long the connection may be lost before the page says so, in milliseconds. */
const BLINK = 400;

const room = document.documentElement.dataset.room;
const shelf = new Shelf(room);

/** How others see this connection: `{ name?, addr }`. */
let me = {};
/** The ids of messages sent from here, with the order number of each on the shelf. */
const said = new Map();
/** The elements of messages that are not stored yet, by id. */
const unsent = new Map();
/** The members of the room, as far as their names are known. */
let people = { names: [], total: 0 };
/** The names and rooms offered as completions. */
let known = { names: [], rooms: [] };
/** Whether there may be older messages, and they are loading; a new `turn` drops late answers. */
let older = { more: true, loading: false, turn: 0 };

// --- The log ---

const view = new View({
  log: $("log"),
  begin: $("begin"),
  unsent: $("unsent"),
  draw: (row, index) => draw(row, { ...about(row, index), own: row.own, me: me.name }),
  look(row, index) {
    const { goesOn, day, fresh } = about(row, index);
    return `${goesOn}|${day && dayName(row.at)}|${fresh}|${me.name}`;
  },
  on: {
    top: loadOlder,
    moved() {
      attention.look();
      showWayDown();
    },
  },
});

function about(row, index) {
  const fresh = row.place === attention.fresh;
  return { goesOn: !fresh && view.rows.goesOn(index), day: view.rows.beginsDay(index), fresh };
}

const attention = new Attention(room, {
  isAtEnd: () => view.isAtEnd,
  last: () => view.rows.end,
  changed() {
    showWayDown();
    view.update();
  },
  go: (seq) => lookBackTo(seq),
});

function showWayDown() {
  show($("down"), !view.isAtEnd);
  const { unseen } = attention;
  $("down-count").textContent = unseen ? `${unseen} new` : "";
  $("down").setAttribute("aria-label", unseen ? `To the end: ${unseen} new messages` : "To the end");
}

$("down").addEventListener("click", () => view.toEnd());

function isOwn(row) {
  const byName = me.name && nameKey(row.who) === nameKey(me.name);
  return Boolean(byName || said.has(row.id) || (!me.name && row.addr && row.addr === me.addr));
}

function rowOf(message, about = Date.now()) {
  const row = messageRow(message, about);
  row.own = isOwn(row);
  return row;
}

function push(row) {
  if (view.add(row)) older.more = true;
}

/** Shows a note of the page or the server. */
function note(text, link = {}) {
  push({ kind: "note", place: view.rows.end, at: Date.now(), text, who: "", ...link });
}

async function loadOlder() {
  if (!older.more || older.loading || !client.isLive) return;
  const { turn } = older;
  older.loading = true;
  showBegin();
  try {
    const before = view.rows.firstSeq;
    const page = await client.ask({ type: "history", limit: EXCERPT, ...(before && { before }) });
    if (turn !== older.turn) return;
    older.more = page.more;
    let at = view.rows.at(0)?.at;
    const rows = page.messages.toReversed().map((message) => {
      const row = rowOf(message, at);
      at = row.at;
      return row;
    });
    view.unshift(rows.reverse());
  } catch {
    // The reader's scrolling, or a new connection, asks again.
    if (turn === older.turn) await new Promise((later) => setTimeout(later, 1000));
  }
  if (turn === older.turn) {
    older.loading = false;
    showBegin();
    view.update();
  }
}

function showBegin() {
  $("begin").textContent = older.loading ? "Loading older messages…" : older.more ? "" : `This is where ${room} begins.`;
}

/** Brings a message into view, and loads older messages to find it. */
async function lookBackTo(seq) {
  while (!view.toMessage(seq) && older.more && view.rows.firstSeq > seq && view.rows.length < FAR_BACK) {
    const before = view.rows.firstSeq;
    while (older.loading) await new Promise((later) => setTimeout(later, 20));
    if (view.rows.firstSeq === before) await loadOlder();
    if (!client.isLive) return;
  }
  if (view.rows.indexOf(seq) < 0) tell("That message is too far back to be shown here.");
}

// --- Sending ---

/** Shows a sentence about the user's last action, until the next action. */
function tell(text) {
  $("told").textContent = text;
  show($("told"), text !== "");
}

/** Settles when the last message is kept: each message waits until those before it are. */
let kept = Promise.resolve();

function say(command) {
  if (!client.hasRoom) {
    tell("Too many messages wait for the server already.");
    return false;
  }
  const whole = { ...command, id: randomId() };
  wait(whole);
  view.toEnd();
  kept = kept.then(async () => {
    said.set(whole.id, await shelf.put(whole));
    client.push(whole);
  });
  return true;
}

/** Shows a message as not stored yet. */
function wait(command) {
  said.set(command.id, undefined);
  const element = drawUnsent(command);
  unsent.set(command.id, element);
  $("unsent").append(element);
}

function settle(id) {
  unsent.get(id)?.remove();
  unsent.delete(id);
  const order = said.get(id);
  if (order !== undefined) shelf.remove(order);
  if (unsent.size === 0) showState();
}

/** Marks a message that will never be stored; the user may take its text back. */
function refuse(id, text) {
  const element = unsent.get(id);
  if (!element) return;
  const words = element.querySelector(".text").textContent;
  const back = () => {
    element.remove();
    composer.set(words);
    composer.focus();
  };
  element.classList.add("refused");
  element.append(el("p", { class: "why" }, `Not said: ${text} `, el("button", { type: "button", click: back }, "Take it back")));
  unsent.delete(id);
  shelf.remove(said.get(id));
}

/** How often to look for closed tabs, in milliseconds: a tab just closed still counts as open. */
const GONE_SINCE = 30_000;

/** Takes over the messages of this tab, or of closed tabs, that are not stored. */
async function takeUp() {
  const orders = new Set(said.values());
  const { found, elsewhere } = await shelf.take((order) => orders.has(order));
  for (const { order, command } of found) {
    if (said.has(command.id)) continue;
    wait(command);
    said.set(command.id, order);
    client.push(command);
  }
  return elsewhere;
}

function takeName(name, secret) {
  client.push({ type: "name", name, secret: secret ?? names.secret(name) });
}

/** Carries out a typed text; returns false if it must stay in the field. */
function typed(text) {
  tell("");
  const asked = parse(text);
  if (!asked) return false;
  const { command, act, wrong } = asked;
  if (wrong) {
    tell(wrong);
    return false;
  }
  if (act === "go") go(asked.room);
  else if (act === "show") panels.open(asked.panel, $("text"));
  else if (act === "search") {
    panels.open("search", $("text"));
    search.start(asked.query);
  } else if (command.type === "publish" || command.type === "private") return say(command);
  else if (command.type === "name") takeName(command.name, command.secret);
  else client.ask(command).catch((error) => tell(error.message));
  return true;
}

function go(other) {
  location.assign(`/${other === "lobby" ? "" : other}`);
}

// --- The panels ---

const panels = new Panels({
  people: askPeople,
  rooms: () => askRooms(),
  you: showYou,
});
const search = new Search({
  find: (query, before) => client.ask({ type: "search", query, limit: 30, ...(before && { before }) }),
  to(seq) {
    // A panel in front of the log would hide the message.
    if (getComputedStyle($("panel")).position === "fixed") panels.close();
    lookBackTo(seq);
  },
});
const composer = new Composer({
  room,
  known: () => known,
  say: typed,
  scroll: (pages) => view.scrollBy(pages),
});

function askPeople() {
  client.ask({ type: "members" }).catch(() => {});
}

async function askRooms() {
  try {
    const rooms = await client.ask({ type: "rooms" });
    showRooms(rooms, room);
    known.rooms = rooms.rooms.map((one) => one.room);
  } catch (error) {
    $("room-wrong").textContent = error.message;
  }
}

function setPeople(now) {
  people = now;
  known.names = people.names.filter((name) => !name.includes(":") && name !== me.name);
  $("people-count").textContent = people.total;
  $("people-button").setAttribute("aria-label", `People: ${people.total} here`);
  if (panels.current === "people") showPeople(people, me.name ?? me.addr, (name) => composer.insert(`@${name} `));
}

function showYou() {
  $("you-name").textContent = me.name ?? "You";
  $("name-name").value ||= me.name ?? "";
  const own = me.name && names.current()?.name === me.name ? names.current().secret : null;
  show($("secret"), Boolean(own));
  $("secret-line").textContent = own ? `/name ${me.name} ${own}` : "";
  const { notifies } = attention;
  $("notify").checked = notifies === true;
  $("notify").disabled = notifies === null;
  show($("no-notify"), notifies === null);
}

askRoom(go);
askName((name) => takeName(name));
$("notify").addEventListener("change", async () => {
  await attention.setNotifies($("notify").checked);
  showYou();
});

// --- The state of the connection ---

let state = { state: "connecting" };
let due = 0;
let clock = 0;

function showState() {
  const waiting = unsent.size ? `${unsent.size} not stored yet. ` : "";
  const seconds = Math.ceil((due - performance.now()) / 1000);
  clearTimeout(clock);
  const [text, count, action] = {
    connecting: ["Connecting…", ""],
    "catching up": ["Catching up…", ""],
    live: ["", ""],
    held: [`The server accepts messages more slowly than you send them. ${waiting}`, ""],
    offline: [`No connection${state.why ? `: ${state.why}` : ""}. ${waiting}`.replace("..", "."), `Again in ${seconds} s`, "Now"],
    ended: [`The server ended it${state.why ? `: ${state.why}` : ""}. ${waiting}`, "", "Connect again"],
  }[state.state];
  if ($("state-text").textContent !== text) $("state-text").textContent = text;
  $("state-count").textContent = seconds > 0 ? count : "";
  show($("state-action"), Boolean(action));
  $("state-action").textContent = action ?? "";
  $("state").dataset.state = state.state;
  if (state.state === "offline") clock = setTimeout(showState, 1000);
}

function setState(next) {
  const before = state.state;
  state = next;
  if (next.wait) due = performance.now() + next.wait;
  clearTimeout(clock);
  // A connection that returns at once is not mentioned.
  if (before === "live" && next.state !== "live") clock = setTimeout(showState, BLINK);
  else if (next.state === "connecting" && before === "offline") clock = setTimeout(showState, BLINK);
  else showState();
  view.live = next.state === "live";
}

$("state-action").addEventListener("click", () => {
  if (state.state === "ended") client.connect();
  else client.wake();
  composer.focus();
});

// --- Events ---

const happened = {
  __proto__: null,
  state: setState,
  welcome(welcome) {
    me = welcome.you;
    attention.begin(welcome.epoch);
    composer.limit = welcome.limits.text_bytes;
    setTopic(welcome.topic ?? "");
    setPeople({ ...people, total: welcome.members });
    showYou();
  },
  live() {
    if (view.rows.length === 0) loadOlder();
    askPeople();
    askRooms();
    takeUp();
  },
  message(message) {
    const row = rowOf(message);
    push(row);
    const forMe = !row.own && mentions(row.text, me.name);
    attention.came(row, { own: row.own, forMe, isNews: state.state === "live" });
  },
  private({ seq, prev, at, from, to, text, id, sent }) {
    inbox.note(me.name, prev);
    const row = { kind: "private", place: seq, at: Date.parse(at), who: from.name, to, text, id, own: Boolean(sent) };
    push(row);
    attention.came({ ...row, seq }, { own: row.own, forMe: !sent, isNews: state.state === "live" });
  },
  erased(event) {
    if (event.prev === undefined) view.erase(event.seq);
    else push(rowOf(event));
  },
  gap({ reason }) {
    const why = { erased: "Messages here were erased.", damaged: "Messages here are damaged, and not shown." };
    note(why[reason] ?? "Messages here are not available.");
  },
  hole: ({ after, next }) => note(`Messages between ${after} and ${next} are missing.`),
  anew({ other }) {
    view.clear();
    older = { more: true, loading: false, turn: older.turn + 1 };
    attention.fresh = null;
    note(other ? "The server has another history now: these are its latest messages." : "You missed many messages: these are the latest.");
    showBegin();
  },
  stored: ({ id }) => settle(id),
  unstored: ({ id, text }) => refuse(id, text),
  held: (held) => setState({ ...held, state: "held" }),
  name({ name, secret }) {
    names.carry(name, secret);
    me = { ...me, name };
    $("name-wrong").textContent = "";
    showYou();
    setPeople(people);
    askPeople();
    tell(`You are ${name} now.`);
  },
  unnamed: ({ text }) => note(text),
  refused({ text }) {
    tell(text);
    if (panels.current === "you") $("name-wrong").textContent = text;
  },
  notice: ({ text }) => note(text),
  topic({ text, by }) {
    setTopic(text);
    note(text ? `The topic${by ? ` by ${by}` : ""}: ${text}` : "There is no topic.");
  },
  members({ names: listed, total }) {
    setPeople({ names: listed ?? people.names, total });
    if (!listed && panels.current === "people") setTimeout(askPeople, 2000);
  },
  joined({ name, addr, members }) {
    setPeople({ names: [...new Set([...people.names, name ?? addr])], total: members });
  },
  left({ name, addr, members }) {
    setPeople({ names: people.names.filter((one) => one !== (name ?? addr)), total: members });
  },
  renamed({ from, to }) {
    setPeople({ ...people, names: people.names.map((one) => (one === from ? to : one)) });
  },
};

function setTopic(text) {
  $("topic").textContent = text;
  $("topic").title = text;
}

const client = new Client({
  url: `${location.origin.replace(/^http/, "ws")}/${room}`,
  name: names.current(),
  inbox: inbox.begin(names.current()?.name),
  tell(event) {
    happened[event.type]?.(event);
    if (state.state === "held" && client.unsent === 0) setState({ state: "live" });
  },
});

names.onChange(({ name, secret }) => name !== me.name && takeName(name, secret));
addEventListener("online", () => client.wake());
document.addEventListener("visibilitychange", () => document.hidden || client.wake());

// An on-screen keyboard covers a part of the page: the page gets the height above it.
const { visualViewport: seen } = globalThis;
seen?.addEventListener("resize", () => {
  document.documentElement.style.setProperty("--high", `${seen.height}px`);
  view.update();
});

showState();
showBegin();
showYou();
client.connect();
if (matchMedia("(pointer: fine)").matches) composer.focus();
await shelf.open();
for (const [other, count] of await takeUp()) {
  note(`Unsent messages of yours in ${other}: ${count}. They are sent when you go there:`, { href: `/${other}`, link: other });
}
setInterval(() => state.state === "live" && takeUp(), GONE_SINCE);
if (!shelf.isKept) note("This browser keeps nothing for this page: messages not stored when you close it are lost.");
