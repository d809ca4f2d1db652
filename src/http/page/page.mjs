// The page of a room: shows the events of the conversation, and sends the user's
// messages and commands.

import { Attention } from "./attention.mjs";
import { copyText } from "./blocks.mjs";
import { Client } from "./client.mjs";
import { Composer } from "./composer.mjs";
import { $, base, show } from "./dom.mjs";
import { Entry } from "./entry.mjs";
import { KeptOutbox, inbox, ownedNames, randomId, shared } from "./keep.mjs";
import { keepPage } from "./offline.mjs";
import { Menu } from "./menu.mjs";
import { Panels, Search, setUpNameForm, showLink, showPeople, showYou } from "./panels.mjs";
import { Places } from "./places.mjs";
import { Regarding } from "./regarding.mjs";
import { drawRow, drawUnconfirmed, isTag, linked, markRefused } from "./row.mjs";
import { messageRow } from "./rows.mjs";
import { Talk } from "./talk.mjs";
import { dayName, mentions, nameKey } from "./text.mjs";
import { parse } from "./typed.mjs";
import { View } from "./view.mjs";

/** The user was asked for a name, and wants none. */
const NAMELESS = "nameless";

/** The most messages of a history page. */
const HISTORY_PAGE = 200;

/** How far back the page looks for a message, in rows. */
const MAX_ROWS_BACK = 90_000;

/** How long the connection may be lost before the page says so, in milliseconds. */
const LOSS_SHOWN_AFTER = 400;

/** How many messages of a private conversation are loaded at once. */
const TALK_PAGE = 50;

/** How long a brief hint is shown, in milliseconds. */
const BRIEF_HINT = 5000;

/** The pass by which the page was opened. It leaves the address bar at once. */
const PASS = /^#(invite|link)=([\w-]{22})?/;
const [, passKind, passToken] = PASS.exec(location.hash) ?? [];
if (passKind) history.replaceState(history.state, "", location.pathname + location.search);
addEventListener("hashchange", () => PASS.test(location.hash) && location.reload());

const room = document.documentElement.dataset.room;
const keptOutbox = new KeptOutbox(room);

/** How others see this connection: `{ name?, addr }`. */
let me = {};
/** The ids of messages sent from here, with the order number of each in the kept outbox. */
const ownIds = new Map();
/** The elements of messages that are not stored yet, by id. */
const unconfirmed = new Map();
/** The members of the room, as far as their names are known. */
let people = { names: [], total: 0 };
/** The names and rooms offered as completions. */
let known = { names: [], rooms: [] };
/** Whether there may be older messages, and they are loading; a new `generation` drops late answers. */
let older = { more: true, loading: false, generation: 0 };

/** The functions that the rows of the log call. */
const rowActs = { resized: () => view.update(), goTo: goToMessage, react, talk: openTalk };

/** The number of the message that the URL of the page leads to. */
let wanted = Number(new URLSearchParams(location.search).get("at"));

/** Whether the server has taken the user for an operator. */
let isOperator = false;

// --- The log ---

const view = new View({
  log: $("log"),
  begin: $("begin"),
  unconfirmed: $("unsent"),
  draw: (row, index) => drawRow(row, { ...contextOf(row, index), ...rowActs, own: row.own, me: me.name }),
  drawKey(row, index) {
    const { continues, day, firstUnseen } = contextOf(row, index);
    return `${continues}|${day && dayName(row.at)}|${firstUnseen}|${me.name}`;
  },
  on: {
    top: loadOlder,
    moved() {
      attention.markSeen();
      showDownButton();
    },
  },
});

function contextOf(row, index) {
  const firstUnseen = row.place === attention.firstUnseen;
  return { continues: !firstUnseen && view.rows.continuesGroup(index), day: view.rows.beginsDay(index), firstUnseen };
}

const places = new Places(room, {
  send: (command) => client.say(command),
  talk: openTalk,
  go: goToRoom,
  isTalking: (name) => talk.isWith(name),
  moved: () => panels.current === "rooms" && panels.close(),
});

const attention = new Attention(room, {
  isAtEnd: () => view.isAtEnd,
  last: () => view.rows.end,
  changed() {
    places.setHere(attention.unseen, attention.unseenForMe);
    showDownButton();
    view.update();
  },
  read: (seq) => places.readRoom(seq),
  go: (seq) => goToMessage(seq),
});

function showDownButton() {
  show($("down"), !view.isAtEnd);
  const { unseen } = attention;
  $("down-count").textContent = unseen ? `${unseen} new` : "";
  $("down").setAttribute("aria-label", unseen ? `To the end: ${unseen} new messages` : "To the end");
}

$("down").addEventListener("click", () => view.toEnd());

function isOwn(row) {
  const byName = me.name && nameKey(row.who) === nameKey(me.name);
  return Boolean(byName || ownIds.has(row.id) || (!me.name && row.addr && row.addr === me.addr));
}

function rowOf(message, fallbackAt = Date.now()) {
  const row = messageRow(message, fallbackAt);
  row.own = isOwn(row);
  if (row.quote && isIgnored(row.quote)) row.quote = { ...row.quote, text: "ignored" };
  return row;
}

function addRow(row) {
  if (view.add(row)) older = { ...older, more: true, before: undefined };
}

/** The author of the last private message to the user. */
let lastPrivate;

let ignored = new Set();

function setIgnored(names) {
  ignored = new Set(names.map(nameKey));
}

/** Whether the user ignores the author of a message. */
function isIgnored({ from }) {
  return Boolean(from?.name) && ignored.has(nameKey(from.name));
}

/** Shows a note of the page or the server. */
function note(text, link = {}) {
  addRow({ kind: "note", place: view.rows.end, at: Date.now(), text, who: "", ...link });
}

async function loadOlder() {
  if (!older.more || older.loading || !client.isLive) return;
  const { generation } = older;
  older.loading = true;
  showBegin();
  try {
    // A page of ignored messages shows no row.
    const before = older.before ?? view.rows.firstSeq;
    const page = await client.ask({ type: "history", limit: HISTORY_PAGE, ...(before && { before }) });
    if (generation !== older.generation) return;
    older.more = page.more;
    older.before = page.messages[0]?.seq;
    let at = view.rows.at(0)?.at;
    const shown = page.messages.filter((message) => !isIgnored(message));
    const rows = shown.toReversed().map((message) => {
      const row = rowOf(message, at);
      at = row.at;
      return row;
    });
    view.unshift(rows.reverse());
  } catch {
    // The reader's scrolling, or a new connection, asks again.
    if (generation === older.generation) await new Promise((later) => setTimeout(later, 1000));
  }
  if (generation === older.generation) {
    older.loading = false;
    showBegin();
    view.update();
  }
}

function showBegin() {
  $("begin").textContent = older.loading ? "Loading older messages…" : older.more ? "" : `This is where ${room} begins.`;
}

/** Brings a message into view, and loads older messages to find it. */
async function goToMessage(seq) {
  while (!view.toMessage(seq) && older.more && view.rows.firstSeq > seq && view.rows.length < MAX_ROWS_BACK) {
    const before = view.rows.firstSeq;
    while (older.loading) await new Promise((later) => setTimeout(later, 20));
    if (view.rows.firstSeq === before) await loadOlder();
    if (!client.isLive) return;
  }
  if (view.rows.indexOf(seq) >= 0) return;
  const isKnown = seq >= view.rows.firstSeq || !older.more;
  showHint(isKnown ? `There is no message ${seq} in ${room}.` : "That message is too far back to be shown here.");
}

// --- Sending ---

let hintTimer = 0;

/** Shows a sentence about the user's last action, until the next action; a `brief` one not as long. */
function showHint(text, brief = false) {
  clearTimeout(hintTimer);
  if (brief) hintTimer = setTimeout(() => showHint(""), BRIEF_HINT);
  $("told").textContent = text;
  show($("told"), text !== "");
}

/** Settles when the last message is kept: each message waits until those before it are. */
let lastKept = Promise.resolve();

/** The ref of private messages: the server says whether the recipient is away. */
const PRIVATE_REF = "private";

/** The away people whom the user knows to be away. */
const away = new Set();

/** The kinds of messages that have no row of their own. */
const CHANGES = ["edit", "react", "unreact"];

function sendMessage(command) {
  if (!client.hasRoom) {
    showHint("Too many messages wait for the server already.");
    return false;
  }
  const message = { ...command, id: randomId(), ...(command.type === "private" && { ref: PRIVATE_REF }) };
  showUnconfirmed(message);
  if (!CHANGES.includes(command.kind)) view.toEnd();
  lastKept = lastKept.then(async () => {
    ownIds.set(message.id, await keptOutbox.put(message, client.speaker));
    client.push(message);
  });
  return true;
}

/** Shows a message as not stored yet. */
function showUnconfirmed(command) {
  ownIds.set(command.id, undefined);
  if (CHANGES.includes(command.kind)) return;
  const element = drawUnconfirmed(command);
  unconfirmed.set(command.id, element);
  if (talk.isWith(command.to)) {
    $("talk-unsent").append(element);
    talk.showEnd();
  } else $("unsent").append(element);
}

function removeUnconfirmed(id) {
  unconfirmed.get(id)?.remove();
  unconfirmed.delete(id);
  const order = ownIds.get(id);
  if (order !== undefined) keptOutbox.remove(order);
  if (unconfirmed.size === 0) showState();
}

/** Sends a message again under a new id, once that is kept: another message has its id. */
async function renewId(id) {
  if (!unconfirmed.has(id)) return;
  const newId = randomId();
  const order = ownIds.get(id);
  for (const byId of [ownIds, unconfirmed]) {
    byId.set(newId, byId.get(id));
    byId.delete(id);
  }
  if (order !== undefined) await keptOutbox.renew(order, newId);
  client.renew(id, newId);
}

/** Marks a message that will never be stored; the user may take its text back. */
function showRefused(id, text) {
  const element = unconfirmed.get(id);
  keptOutbox.remove(ownIds.get(id));
  if (!element) {
    showHint(text);
    return;
  }
  markRefused(element, text, () => {
    const { to, words, typed } = element.dataset;
    if (talk.isWith(to)) talk.start(words);
    else composer.start(typed);
  });
  unconfirmed.delete(id);
}

// --- About a message ---

const rowOfSeq = (seq) => view.rows.at(view.rows.indexOf(seq));
const regarding = new Regarding(rowOfSeq, (text) => composer.set(text));

function react(about, text, isOwn = false) {
  if (!me.name) showHint("A reaction shows who reacts, so it needs a name: /name NAME takes one.");
  else sendMessage({ type: "publish", about, kind: isOwn ? "unreact" : "react", text });
}

/** Erases a message. */
function erase(seq) {
  client.ask({ type: "erase", seq }).catch((error) => showHint(error.message));
}

/** The number of the last message, or of the user's last. */
function lastSeq(isMeant) {
  return view.rows.all.findLast((row) => row.seq && row.kind !== "private" && row.kind !== "erased" && isMeant(row))?.seq;
}

/** The URL of a message. */
function linkTo(seq) {
  return `${location.origin}${base}/${room === "lobby" ? "" : room}?at=${seq}`;
}

new Menu($("log"), {
  react,
  choices(seq) {
    const row = rowOfSeq(seq);
    if (!row) return [];
    const own = [["Edit", () => regarding.begin("edit", seq)], ["Delete", () => erase(seq)]];
    return [
      ["Reply", () => regarding.begin("reply", seq)],
      ["React…", () => composer.start(`/react ${seq} `)],
      ["Copy text", () => copyText(rowOfSeq(seq)?.text ?? "").then(() => showHint("The text is copied.", true))],
      ["Copy link", () => copyText(linkTo(seq)).then(() => showHint("The link is copied.", true))],
      ...(row.own ? own : isOperator ? [["Erase", () => erase(seq)]] : []),
    ];
  },
});

/** How often to look for closed tabs, in milliseconds: a tab just closed still counts as open. */
const ADOPT_INTERVAL = 30_000;

/** How often the column of rooms asks for rooms that the user does not follow, in milliseconds. */
const ROOMS_INTERVAL = 60_000;

/** Adopts the messages of this tab, or of closed tabs, that are not stored. */
async function adoptMessages() {
  const orders = new Set(ownIds.values());
  const { found, elsewhere, others } = await keptOutbox.adopt((order) => orders.has(order), client.speaker);
  for (const { order, command } of found) {
    if (ownIds.has(command.id)) continue;
    showUnconfirmed(command);
    ownIds.set(command.id, order);
    client.push(command, true);
  }
  return { elsewhere, others };
}

function changeName(name, secret) {
  client.push({ type: "name", name, secret: secret ?? ownedNames.secret(name) });
}

/** Carries out a typed text; returns false if it must stay in the field. */
function runTyped(text) {
  showHint("");
  const parsed = parse(text);
  if (!parsed) return false;
  const { command, act, wrong } = parsed;
  if (regarding.message && command?.type === "publish" && !command.kind) {
    if (!sendMessage({ ...command, ...regarding.message })) return false;
    regarding.sent();
    return true;
  }
  if (wrong) {
    showHint(wrong);
    return false;
  }
  if (act === "go") goToRoom(parsed.room);
  else if (act === "delete") {
    const seq = parsed.seq ?? lastSeq((row) => row.own);
    if (seq) erase(seq);
    else showHint("You have said nothing here that is shown.");
  } else if (act === "talk") openTalk(parsed.name);
  else if (act === "reply") {
    if (lastPrivate) return sendMessage({ type: "private", to: lastPrivate, text: parsed.text });
    showHint("You have no private message to answer: /msg NAME TEXT begins.");
    return false;
  }
  else if (act === "show") {
    panels.open(parsed.panel, $("text"));
    $("secret").open ||= parsed.panel === "you";
  }
  else if (act === "search") {
    panels.open("search", $("text"));
    search.start(parsed.query);
  } else if (command.type === "publish" || command.type === "private") {
    const isAbout = command.kind && command.kind !== "me";
    const about = command.about ?? lastSeq((row) => command.kind !== "edit" || row.own);
    if (isAbout && !about) showHint("There is no such message here.");
    else return sendMessage(isAbout ? { ...command, about } : command);
    return false;
  }
  else if (command.type === "name") changeName(command.name, command.secret);
  else if (command.type === "link") askLink(command.secret);
  else {
    // An operator gets another answer to this question.
    const asked = client.ask(command).then(() => {
      if (command.type !== "operator") return;
      isOperator = true;
      askPeople();
    });
    asked.catch((error) => showHint(error.message));
  }
  return true;
}

/** Asks for a URL that makes another device the owner of the name. */
function askLink(secret = ownedNames.current()?.secret) {
  client.ask({ type: "link", ...(secret && { secret }) }).catch((error) => showHint(error.message));
}

function goToRoom(other) {
  location.assign(`${base}/${other === "lobby" ? "" : other}`);
}

// --- The panels ---

const panels = new Panels({
  people: askPeople,
  rooms: () => askRooms(),
  you: updateYou,
  closed(panel) {
    if (panel === "talk") leaveTalk();
  },
}, () => places.isColumn);
const talk = new Talk({
  async load(name, before) {
    const { messages, more } = await client.ask({ type: "history", with: name, limit: TALK_PAGE, ...(before && { before }) });
    return { rows: messages.map(privateRow), more };
  },
  say: (name, text) => sendMessage({ type: "private", to: name, text }),
  read: (name, seq) => places.readConversation(name, seq),
});

/** Opens the private conversation with a person. */
function openTalk(name) {
  leaveTalk();
  panels.open("talk", $("text"));
  talk.open(name);
  $("talk-text").focus();
}

/** Ends the open conversation: the log gets its messages. */
function leaveTalk() {
  for (const row of talk.close()) addRow(row);
}

function privateRow({ seq, at, from, to, text, id, sent }) {
  return { kind: "private", place: seq, at: Date.parse(at), who: from.name, to, text, id, own: Boolean(sent) };
}

// A name in the log leads to a conversation with its owner.
$("log").addEventListener("click", ({ target }) => {
  const name = target.closest(".who:not(.guest, .unverified)")?.textContent;
  if (name && name !== me.name) openTalk(name);
});
const search = new Search({
  isIgnored,
  find: (query, before) => client.ask({ type: "search", query, limit: 30, ...(before && { before }) }),
  goTo(seq) {
    // A panel in front of the log would hide the message.
    if (getComputedStyle($("panel")).position === "fixed") panels.close();
    goToMessage(seq);
  },
});
const composer = new Composer({
  room,
  known: () => known,
  submit: runTyped,
  scroll: (pages) => view.scrollBy(pages),
});

/** The name under which the user asks to be let in. */
let entering = null;
const entry = new Entry((name, secret, token) => {
  entering = { name, secret: secret ?? ownedNames.secret(name) };
  client.enter(entering, token && `invite.${token}`);
});

/** Takes the place of the room while the server does not let the user in. */
function showRefusal({ status, why }) {
  $("entry-name").value ||= ownedNames.current()?.name ?? "";
  entry.refuse(status === 401 ? "This chat is by invitation" : `${room} does not let you in`, why);
}

function askPeople() {
  client.ask({ type: "members" }).catch(() => {});
}

async function askRooms() {
  try {
    const rooms = await client.ask({ type: "rooms" });
    places.setRooms(rooms);
    known.rooms = rooms.rooms.map((one) => one.room);
  } catch (error) {
    $("room-wrong").textContent = error.message;
  }
}

/** Asks for the rooms that the user does not follow, where the list is always in view. */
function refreshColumn() {
  if (state.state === "live" && !document.hidden && places.isColumn) askRooms();
}

function setPeople(now) {
  people = now;
  known.names = people.names.filter((name) => !isTag(name) && name !== me.name);
  $("people-count").textContent = people.total;
  $("people-button").setAttribute("aria-label", `People: ${people.total} here`);
  if (panels.current === "people") showPeople(people, me.name ?? me.addr, pickPerson);
}

function pickPerson(name) {
  if (name === (me.name ?? me.addr)) panels.open("you", $("text"));
  else openTalk(name);
}

/** Asks for a name, until the user has one or wants none. */
function askName() {
  show($("ask-form"), !me.name && shared.get(NAMELESS) !== true);
}

function updateYou() {
  const current = ownedNames.current();
  const secret = me.name && current?.name === me.name ? current.secret : null;
  showYou(me.name, secret, attention.notifies);
}

setUpNameForm("name", (name) => changeName(name));
setUpNameForm("ask", (name) => changeName(name));
$("ask-later").addEventListener("click", () => {
  shared.set(NAMELESS, true);
  askName();
  composer.focus();
});
$("link-button").addEventListener("click", () => askLink());
$("notify").addEventListener("change", async () => {
  await attention.setNotifies($("notify").checked);
  updateYou();
});

// Ctrl-K, or Command-K, finds a place; again it chooses the next one.
addEventListener("keydown", (event) => {
  const isAsked = /^(Mac|iP)/.test(navigator.platform) ? event.metaKey : event.ctrlKey;
  if (!isAsked || event.key !== "k" || event.altKey || event.shiftKey || entry.isOpen) return;
  event.preventDefault();
  if (document.activeElement === $("room-name")) places.chooseNext(1);
  else panels.open("rooms", $("text"));
});

// --- The state of the connection ---

let state = { state: "connecting" };
let retryAt = 0;
let stateTimer = 0;

function showState() {
  const waiting = unconfirmed.size ? `${unconfirmed.size} unsent. ` : "";
  const seconds = Math.ceil((retryAt - performance.now()) / 1000);
  clearTimeout(stateTimer);
  const [text, count, action] = {
    connecting: ["Connecting…", ""],
    "catching up": ["Catching up…", ""],
    live: ["", ""],
    held: [`The server accepts messages more slowly than you send them. ${waiting}`, ""],
    offline: [`No connection${state.why ? `: ${state.why}` : ""}. ${waiting}`.replace("..", "."), `Next try in ${seconds} s`, "Try now"],
    refused: ["", ""],
    ended: [`The server closed the connection${state.why ? `: ${state.why}` : ""}. ${waiting}`, "", "Connect again"],
  }[state.state];
  if ($("state-text").textContent !== text) $("state-text").textContent = text;
  $("state-count").textContent = seconds > 0 ? count : "";
  show($("state-action"), Boolean(action));
  $("state-action").textContent = action ?? "";
  $("state").dataset.state = state.state;
  if (state.state === "offline") stateTimer = setTimeout(showState, 1000);
}

function setState(next) {
  const before = state.state;
  state = next;
  if (next.wait) retryAt = performance.now() + next.wait;
  clearTimeout(stateTimer);
  // A connection that returns at once is not mentioned.
  if (before === "live" && next.state !== "live") stateTimer = setTimeout(showState, LOSS_SHOWN_AFTER);
  else if (next.state === "connecting" && before === "offline") stateTimer = setTimeout(showState, LOSS_SHOWN_AFTER);
  else showState();
  view.live = next.state === "live";
  if (next.state === "refused") showRefusal(next);
}

$("state-action").addEventListener("click", () => {
  if (state.state === "ended") client.connect();
  else client.wake();
  composer.focus();
});

// --- Events ---

const handlers = {
  __proto__: null,
  state: setState,
  welcome(welcome) {
    me = welcome.you;
    if (entering && me.name) ownedNames.use(entering.name, entering.secret);
    entering = null;
    if (entry.close()) composer.focus();
    setIgnored(welcome.ignored ?? []);
    places.begin(welcome);
    attention.begin(welcome.epoch, welcome.after, places.readHere);
    composer.limit = welcome.limits.text_bytes;
    setTopic(welcome.topic ?? "");
    setPeople({ ...people, total: welcome.members });
    updateYou();
    askName();
  },
  live() {
    if (wanted) goToMessage(wanted);
    wanted = 0;
    if (view.rows.length === 0) loadOlder();
    askPeople();
    askRooms();
    talk.retry();
    adoptMessages();
  },
  away({ with: name, text }) {
    if (away.has(name)) return;
    away.add(name);
    if (talk.isWith(name)) talk.note(text);
    else note(text);
  },
  inbox({ messages }) {
    if (messages.length === 0) note("You have no private messages.");
    for (const { at, from, to, text, sent } of messages) {
      const day = dayName(Date.parse(at));
      note(`${day}, ${sent ? `you to ${to}` : `${from.name} to you`}: ${text}`);
    }
  },
  ignored({ names }) {
    setIgnored(names);
    note(names.length ? `You ignore ${names.join(", ")}.` : "You ignore nobody.");
  },
  message(message) {
    if (isIgnored(message)) return;
    const row = rowOf(message);
    addRow(row);
    const forMe = !row.own && mentions(row.text, me.name);
    const isNews = state.state === "live";
    attention.count(row, { own: row.own, forMe, isNews });
    if (isNews) places.noteSpoken(room, row.at);
  },
  changed(change) {
    view.change(change);
    regarding.follow(change.about);
  },
  private(message) {
    const { seq, prev, from, to, sent } = message;
    inbox.recordDelivered(me.name, prev);
    places.noteConversation(sent ? to : from.name, seq);
    if (!sent) {
      lastPrivate = from.name;
      away.delete(from.name);
    }
    const row = privateRow(message);
    // The open conversation shows it, and the log only after that.
    const isTaken = talk.take(row);
    if (!isTaken) addRow(row);
    if (isTaken && document.hasFocus()) return;
    attention.count({ ...row, seq }, { own: row.own, forMe: !sent, isNews: state.state === "live" });
  },
  erased(event) {
    if (event.prev === undefined) view.redact(event.seq);
    else addRow(rowOf(event));
    search.forget(event.seq);
    if (regarding.forget(event.seq)) showHint("That message was erased.", true);
  },
  gap({ reason }) {
    const why = { erased: "Messages here were erased.", damaged: "Messages here are damaged, and not shown." };
    note(why[reason] ?? "Messages here are not available.");
  },
  hole: ({ after, next }) => note(`Messages between ${after} and ${next} are missing.`),
  restart({ other }) {
    view.clear();
    if (other) regarding.end();
    talk.restart();
    older = { more: true, loading: false, generation: older.generation + 1 };
    attention.firstUnseen = null;
    note(other ? "The server has another history now: these are its latest messages." : "You missed many messages: these are the latest.");
    showBegin();
  },
  stored: ({ id }) => removeUnconfirmed(id),
  unstored: ({ id, text }) => showRefused(id, text),
  taken: ({ id }) => renewId(id),
  held: (held) => setState({ ...held, state: "held" }),
  name({ name, secret }) {
    ownedNames.use(name, secret);
    me = { ...me, name };
    places.own();
    $("name-wrong").textContent = "";
    if (!$("ask-form").hidden) composer.focus();
    askName();
    updateYou();
    setPeople(people);
    askPeople();
    talk.restart();
    showHint(`You are ${name} now.`, true);
  },
  unnamed: ({ text }) => note(text),
  refused({ text }) {
    showHint(text);
    if (panels.current === "you") $("name-wrong").textContent = text;
    else if ($("ask-form").contains(document.activeElement)) $("ask-wrong").textContent = text;
  },
  notice: ({ text }) => note(text),
  invite: ({ url, uses, for: time }) => note(`This URL lets in ${uses === 1 ? "one person" : `${uses} people`} in the next ${time}: ${url}`),
  invites({ invites }) {
    const lines = invites.map(({ id, room: where, by, uses, for: time }) => `${id}: ${uses} to ${where} in the next ${time}, from ${by}`);
    note(lines.length ? `Open invitations:\n${lines.join("\n")}` : "No invitation is open.");
  },
  hook: ({ url, room: where, name }) => note(`What a program posts to this URL appears in ${where} as ${name}. Everybody who has the URL can use it: ${url}`),
  hooks({ hooks }) {
    const lines = hooks.map(({ name, by }) => `${name}, made by ${by}`);
    note(lines.length ? `Hooks of this room:\n${lines.join("\n")}` : "This room has no hooks.");
  },
  link(link) {
    panels.open("you", $("text"));
    showLink(link);
  },
  topic({ text, by }) {
    setTopic(text);
    note(text ? `The topic${by ? ` by ${by}` : ""}: ${text}` : "There is no topic.");
  },
  activity: (activity) => places.take(activity),
  following: ({ following }) => places.follow(following),
  follow(changed) {
    places.change(changed);
    const told = { all: "every message", mentions: "mentions only", none: "nothing" }[changed.level];
    note(told ? `In ${changed.room} you are told of ${told}.` : `You no longer follow ${changed.room}.`);
  },
  members({ names: listed, addresses, total, members }) {
    // Only operators are told addresses.
    isOperator ||= Boolean(addresses);
    setPeople(listed ? { names: listed, total, members } : { ...people, total });
    if (!listed && panels.current === "people") setTimeout(askPeople, 2000);
  },
  joined({ name, addr, members }) {
    setPeople({ ...people, names: [...new Set([...people.names, name ?? addr])], total: members });
  },
  left({ name, addr, members }) {
    setPeople({ ...people, names: people.names.filter((one) => one !== (name ?? addr)), total: members });
  },
  renamed({ from, to }) {
    setPeople({ ...people, names: people.names.map((one) => (one === from ? to : one)) });
  },
};

function setTopic(text) {
  $("topic").replaceChildren(...(text ? linked(text) : []));
  $("topic").title = text;
}

const client = new Client({
  url: `${location.origin.replace(/^http/, "ws")}${base}/${room}`,
  name: ownedNames.current(),
  pass: passToken && `${passKind}.${passToken}`,
  inbox: inbox.start(ownedNames.current()?.name),
  tell(event) {
    handlers[event.type]?.(event);
    if (state.state === "held" && client.unconfirmed === 0) setState({ state: "live" });
  },
});

ownedNames.onChange(({ name, secret }) => name !== me.name && changeName(name, secret));
addEventListener("online", () => client.wake());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  client.wake();
  refreshColumn();
});

// An on-screen keyboard covers a part of the page: the page gets the height above it.
const { visualViewport: viewport } = globalThis;
viewport?.addEventListener("resize", () => {
  document.documentElement.style.setProperty("--high", `${viewport.height}px`);
  view.update();
});

showState();
showBegin();
updateYou();
if (passKind === "invite" && passToken && !ownedNames.current()) entry.welcome(passToken);
else client.connect();
if (!matchMedia("(pointer: coarse)").matches && !entry.isOpen) composer.focus();
await keptOutbox.open();
if (keptOutbox.isCopy) composer.dropLoaded();
const { elsewhere, others } = await adoptMessages();
for (const [other, count] of elsewhere) {
  note(`Unsent messages of yours in ${other}: ${count}. They are sent when you go there:`, { href: `${base}/${other}`, link: other });
}
for (const [name, count] of others) {
  note(`Unsent messages of yours ${name ? `as ${name}` : "without a name"}: ${count}. They are sent when you speak so again.`);
}
setInterval(() => state.state === "live" && adoptMessages(), ADOPT_INTERVAL);
setInterval(refreshColumn, ROOMS_INTERVAL);
if (!keptOutbox.isKept) note("This browser keeps nothing for this page: messages not stored when you close it are lost.");
keepPage();
