// The places of the user: rooms that the name follows, and private conversations.
// They stand in the list of rooms, each with its unread messages.

import { $, base, el, show } from "./dom.mjs";
import { shared } from "./keep.mjs";
import { nameElement, timeElement } from "./row.mjs";
import { clockTime, dayName, dayOf, nameKey } from "./text.mjs";
import { bestFits, isName, isRoom, roomName } from "./typed.mjs";

/** From this width on, the list of rooms is a column at the left of the log. */
const WIDE = "(min-width: 56.25em)";

/** The rooms that this browser has visited without a name of its own. */
const VISITED = "visited";

/** The most of them that are watched. */
const MAX_WATCHED = 50;

/** How long read messages gather before the server is told, in milliseconds. */
const READ_DELAY = 3000;

/** The icon of the page; a mark at its corner shows unread messages. */
const icon = document.querySelector("link[rel=icon]");
const PLAIN_ICON = icon.href;
const MARK = "%3Ccircle cx='12' cy='4' r='4' fill='%23d92d20'/%3E%3C/svg%3E";

export class Places {
  #room;
  #on;
  #all = new Map();
  #rooms = { rooms: [], total: 0 };
  #isOwner = false;
  #read = 0;
  #timer = 0;
  #wide = matchMedia(WIDE);
  /** The unread messages of the log itself, for the title. */
  #here = { unread: 0, forMe: 0 };
  /** Where the user would go from the field above the list: an index of `#choices()`; none is -1. */
  #chosen = -1;

  /**
   * `on.send(command)` sends a command without an answer, `on.talk(name)` opens a
   * conversation, `on.go(room)` goes to a room. `on.isTalking(name)` returns whether the
   * conversation with a person is open. `on.moved()` is called before the list moves.
   */
  constructor(room, on) {
    this.#room = room;
    this.#on = on;
    const move = () => {
      // The list stands in the column or in its panel.
      $(this.#wide.matches ? "places" : "panel").append($("rooms"));
      show($("rooms"), this.#wide.matches);
    };
    this.#wide.addEventListener("change", () => {
      on.moved();
      move();
    });
    move();
    this.#listenToField();
    addEventListener("pagehide", () => this.#tellRead());
    document.addEventListener("visibilitychange", () => document.hidden && this.#tellRead());
  }

  /** Whether the list is a column, which is always open. */
  get isColumn() {
    return this.#wide.matches;
  }

  /** How far the server knows this room to be read; 0 if it does not. */
  get readHere() {
    return this.#all.get(this.#room)?.read ?? 0;
  }

  /** Begins with the places of a welcome. Without any, this browser keeps the positions. */
  begin({ epoch, following }) {
    this.#isOwner = Boolean(following);
    if (following) this.follow(following);
    else this.#watch(epoch);
  }

  /** The user owns a name from now on. */
  own() {
    this.#isOwner = true;
  }

  follow(following) {
    this.own();
    this.#all = new Map(following.map((place) => [keyOf(place), place]));
    this.draw();
  }

  /** Watches the rooms that this browser has visited, and remembers this one. */
  #watch(epoch) {
    const visited = (shared.get(VISITED) ?? []).filter((room) => room !== this.#room);
    shared.set(VISITED, [this.#room, ...visited].slice(0, MAX_WATCHED));
    const seen = visited.map((room) => [room, shared.get(`seen ${room}`)]);
    const known = seen.filter(([, it]) => it?.epoch === epoch && it.seq !== null);
    const rooms = Object.fromEntries(known.map(([room, { seq }]) => [room, seq]));
    if (known.length) this.#on.send({ type: "watch", rooms });
  }

  /** Notes the activity in a place. */
  take(activity) {
    const key = keyOf(activity);
    const known = this.#all.get(key);
    this.#all.set(key, { ...known, ...activity });
    if (activity.unread && this.#on.isTalking(activity.with) && document.hasFocus()) {
      this.readConversation(activity.with, activity.last);
      return;
    }
    // The server tells of a new message within a second or so, without its time.
    if (activity.room && activity.last > known?.last) this.noteSpoken(activity.room, Date.now());
    this.draw();
  }

  /** Notes when a room was last spoken in. */
  noteSpoken(room, at) {
    let info = this.#rooms.rooms.find((one) => one.room === room);
    if (!info) this.#rooms.rooms.push((info = { room }));
    const before = info.last && Date.parse(info.last.at);
    if (before >= at) return;
    info.last = { at: new Date(at).toISOString() };
    // A busy room would have the list drawn for each message.
    if (!before || clockTime(before) !== clockTime(at)) this.draw();
  }

  /** Notes the level of a room, or its end. */
  change({ room, level }) {
    if (level) this.#all.set(room, { unread: 0, mentions: 0, ...this.#all.get(room), room, level });
    else this.#all.delete(room);
    this.draw();
  }

  /** Notes a message of a conversation, also the user's own: the server tells nothing of those. */
  noteConversation(name, seq) {
    const key = keyOf({ with: name });
    const place = { with: name, unread: 0, last: 0, ...this.#all.get(key) };
    if (place.last >= seq) return;
    this.#all.set(key, { ...place, last: seq });
    this.draw();
  }

  /** Notes that a conversation was read up to its end, which is at least `seq`. */
  readConversation(name, seq) {
    const key = keyOf({ with: name });
    const place = { with: name, ...this.#all.get(key), unread: 0 };
    place.last = Math.max(seq, place.last ?? 0);
    this.#all.set(key, place);
    this.#on.send({ type: "read", with: name, seq: place.last });
    this.draw();
  }

  /** Notes that this room was read up to a number; the server is told a moment later. */
  readRoom(seq) {
    if (!this.#isOwner || seq <= this.#read) return;
    this.#read = seq;
    this.#timer ||= setTimeout(() => this.#tellRead(), READ_DELAY);
  }

  #tellRead() {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#on.send({ type: "read", room: this.#room, seq: Math.floor(this.#read) });
  }

  /** Takes the answer to `rooms`. */
  setRooms(rooms) {
    this.#rooms = rooms;
    this.draw();
  }

  /** Notes the unread messages of this room. */
  setHere(unread, forMe) {
    this.#here = { unread, forMe };
    this.#drawTitle();
  }

  /** The places other than this room: rooms by name, then the last conversations. */
  #others() {
    const others = [...this.#all.values()].filter((place) => place.room !== this.#room);
    const order = (place) => (place.with === undefined ? `0${place.room}` : `1${String(1e16 - (place.last ?? 0)).padStart(17, "0")}`);
    return others.sort((one, other) => (order(one) < order(other) ? -1 : 1));
  }

  // --- The field above the list, which finds a place by some of its letters ---

  #listenToField() {
    const field = $("room-name");
    field.addEventListener("input", () => this.#choose(field.value.trim() ? 0 : -1));
    field.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) this.chooseNext(step);
      else if (event.key === "Escape" && field.value) this.#clearField();
      else if (event.key === "Escape" && this.isColumn) $("text").focus();
      else return;
      event.preventDefault();
    });
    $("room-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#goToChosen();
    });
  }

  /** Where the field leads: the places that fit, the best first, then the typed place itself. */
  #choices() {
    const own = this.#others();
    const isStrange = ({ room }) => room !== this.#room && !this.#all.has(room);
    const others = [...own, ...this.#rooms.rooms.filter(isStrange).map(({ room }) => ({ room }))];
    const [, mark, query] = /^([#@]?)(.*)$/.exec($("room-name").value.trim());
    if (!query) return others;
    const isMeant = ({ room }) => !mark || (mark === "#") === (room !== undefined);
    const found = bestFits(others.filter(isMeant), ({ room, with: name }) => room ?? name, query);
    const typed = mark === "@" ? isName(query) && { with: query } : isRoom(query) && { room: roomName(query) };
    return typed && !found.some((place) => keyOf(place) === keyOf(typed)) ? [...found, typed] : found;
  }

  /** Chooses the next place, or the one before. */
  chooseNext(step) {
    const count = this.#choices().length;
    if (count) this.#choose((Math.max(this.#chosen, step < 0 ? 0 : -1) + step + count) % count);
  }

  #choose(index) {
    this.#chosen = index;
    $("room-wrong").textContent = "";
    this.draw();
    document.querySelector("#room-list .chosen")?.scrollIntoView({ block: "nearest" });
  }

  #goToChosen() {
    const { room, with: name } = this.#choices()[this.#chosen] ?? {};
    const isRight = room !== undefined || name !== undefined;
    $("room-wrong").textContent = isRight ? "" : "A room is 1 to 64 of the characters a-z 0-9 . _ - and begins with a letter, a digit or _.";
    $("room-name").setAttribute("aria-invalid", !isRight);
    if (!isRight) return;
    this.#clearField();
    if (name === undefined) this.#on.go(room);
    else this.#on.talk(name);
  }

  #clearField() {
    $("room-name").value = "";
    this.#choose(-1);
  }

  draw() {
    const about = new Map(this.#rooms.rooms.map((info) => [info.room, info]));
    const choices = this.#choices();
    const chosen = choices[this.#chosen];
    const isFiltered = $("room-name").value.trim() !== "";
    const shown = isFiltered ? choices : [{ room: this.#room }, ...choices];
    const items = shown.map((place) => this.#item(place, about.get(place.room), place === chosen));
    const more = this.#rooms.total - this.#rooms.rooms.length;
    if (more > 0 && !isFiltered) items.push(el("li", {}, el("small", {}, `and ${more} more`)));
    $("room-list").replaceChildren(...items);
    $("room-choice").textContent = chosen ? `Enter goes to ${chosen.room ?? `@${chosen.with}`}.` : "";
    this.#drawTitle();
  }

  #item({ room, with: name, unread = 0, mentions = 0, level }, info, isChosen) {
    const isShown = unread > 0 && level !== "none";
    const calls = name === undefined ? mentions : unread;
    const current = room === this.#room ? "page" : undefined;
    const link = name === undefined
      ? el("a", { href: `${base}/${room}`, "aria-current": current }, room)
      : el("button", { type: "button", class: "pick", click: () => this.#on.talk(name) }, nameElement(name));
    const marks = isShown ? [el("small", {}, `${unread} new`)] : [];
    if (isShown && calls) marks.push(el("span", { class: "badge", title: name === undefined ? "Mentions of you" : "Private messages" }, calls));
    const here = info?.members ? [el("small", {}, `${info.members} here`)] : [];
    const spoken = info?.last?.at ? [el("small", {}, spokenElement(Date.parse(info.last.at)))] : [];
    const topic = info?.topic ? [el("p", { dir: "auto" }, info.topic)] : [];
    const kind = [isShown && "unread", isChosen && "chosen"].filter(Boolean).join(" ");
    return el("li", { class: kind || undefined }, link, " ", ...marks, ...here, ...spoken, ...topic);
  }

  /** The count stands in the title, in the icon and on the button of the rooms. */
  #drawTitle() {
    const shown = this.#others().filter(({ unread, level }) => unread > 0 && level !== "none");
    const elsewhere = shown.reduce((sum, place) => sum + (place.with === undefined ? place.mentions ?? 0 : place.unread), 0);
    const count = this.#here.forMe + elsewhere;
    const badge = count ? `(${count}) ` : this.#here.unread ? "• " : "";
    document.title = `${badge}${this.#room} · broadcast-chat`;
    const marked = count || this.#here.unread ? PLAIN_ICON.replace("%3C/svg%3E", MARK) : PLAIN_ICON;
    if (icon.href !== marked) icon.href = marked;
    $("rooms-badge").textContent = elsewhere || "•";
    show($("rooms-badge"), shown.length > 0);
    const spoken = shown.length ? `Rooms: ${shown.length} with new messages` : "Rooms";
    document.querySelector("[data-panel=rooms]").setAttribute("aria-label", spoken);
  }
}

/** The time of a message of today, or the day of an older one. */
function spokenElement(at) {
  const element = timeElement(at);
  if (dayOf(at) !== dayOf(Date.now())) element.textContent = dayName(at);
  return element;
}

function keyOf({ room, with: name }) {
  return name === undefined ? room : `@${nameKey(name)}`;
}
