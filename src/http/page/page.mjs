// The page of a room: what happens in the conversation, shown; what is done on
// the page, said.

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

/** The most messages a page of the history has. */
const EXCERPT = 200;

/** How far back is looked for a message, in rows. */
const FAR_BACK = 90_000;

/** How long there may be no connection before it is worth a word. */
const BLINK = 400;

const room = document.documentElement.dataset.room;
const shelf = new Shelf(room);

/** How others see this connection: `{ name?, addr }`. */
let me = {};
/** Ids of what was said from here, and where on the shelf each is. */
const said = new Map();
/** What is not stored: elements by id. */
const unsent = new Map();
/** People that are known to be here, rooms that are known. */
let people = { names: [], total: 0 };
let known = { names: [], rooms: [] };
/** There may be older messages; they are being fetched; and whose answer it is. */
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

/** Something that nobody said. */
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
    // Scrolling on, or a new connection, asks again.
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

/** Brings a message into view, however far back it stands. */
async function lookBackTo(seq) {
  while (!view.toMessage(seq) && older.more && view.rows.firstSeq > seq && view.rows.length < FAR_BACK) {
    const before = view.rows.firstSeq;
    while (older.loading) await new Promise((later) => setTimeout(later, 20));
    if (view.rows.firstSeq === before) await loadOlder();
    if (!client.isLive) return;
  }
  if (view.rows.indexOf(seq) < 0) tell("That message is too far back to be shown here.");
}

// --- What is said ---

/** Something about what was just done, until the next thing is. */
function tell(text) {
  $("told").textContent = text;
  show($("told"), text !== "");
}

/** What is said waits for what was said before it to be kept. */
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

/** Shows that something is not stored yet. */
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

/** It will never be stored: it may be taken back. */
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

/** How often it is looked whether a tab is gone since: one that was closed a moment ago is still open. */
const GONE_SINCE = 30_000;

/** Takes up what this tab, or one that is gone, said and did not get stored. */
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

/** What was typed; false where it is to be typed again. */
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
    // In front of the log it would hide what was found.
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
    held: [`The server takes it slower than it is said. ${waiting}`, ""],
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
  // A connection that is back at once is not worth a word.
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

// --- What happens ---

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
    const why = { erased: "What stood here was erased.", damaged: "What stood here is damaged, and not shown." };
    note(why[reason] ?? "What stood here is not to be had.");
  },
  hole: ({ after, next }) => note(`What stood between ${after} and ${next} did not come.`),
  anew({ other }) {
    view.clear();
    older = { more: true, loading: false, turn: older.turn + 1 };
    attention.fresh = null;
    note(other ? "The server has another history now: this is its end." : "Much was said meanwhile: this is the end of it.");
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

// Where a keyboard comes up over the page, the page is as high as what is left.
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
  note(`${count} of what you said in ${other} waits to be sent until you are there:`, { href: `/${other}`, link: other });
}
setInterval(() => state.state === "live" && takeUp(), GONE_SINCE);
if (!shelf.isKept) note("This browser keeps nothing for this page: what is not stored when it is closed is lost.");
