// The panels next to the log: people, rooms, search, the user, help. One is open
// at a time; on a narrow screen it covers the log.

import { COMMANDS } from "./commands.mjs";
import { $, base, el, show } from "./dom.mjs";
import { isTag, nameElement, timeElement } from "./row.mjs";
import { findWords } from "./text.mjs";
import { isName } from "./typed.mjs";

/** How many letters of a found text are shown, and how many of them before the first hit. */
const EXCERPT = 300;
const BEFORE_HIT = 100;

export class Panels {
  #panel = $("panel");
  #opener = null;
  #isColumn;
  /** The function that each panel calls when it opens. */
  #onOpen;

  /** `isColumn()` says whether the list of rooms is no panel. */
  constructor(onOpen, isColumn) {
    this.#onOpen = onOpen;
    this.#isColumn = isColumn;
    for (const button of document.querySelectorAll("[data-panel]")) {
      button.addEventListener("click", () => this.toggle(button.dataset.panel, button));
    }
    $("close").addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented && this.current) this.close();
    });
    const list = $("commands");
    for (const [command, form, about] of COMMANDS) {
      list.append(el("dt", {}, `${command} ${form}`), el("dd", {}, about));
    }
    list.append(el("dt", {}, "//TEXT"), el("dd", {}, "say a text that begins with a slash"));
    const away = { rel: "noopener", target: "_blank" };
    list.after(
      el("p", {}, "The ", el("a", { href: `${base}/-/help/guide#join-in-a-browser`, ...away }, "guide"),
        " explains them. This server has ", el("a", { href: `${base}/-/help`, ...away }, "all documents"), "."),
    );
  }

  /** The name of the open panel, or `null`. */
  get current() {
    return this.#panel.hidden ? null : this.#panel.dataset.shows;
  }

  toggle(name, opener) {
    if (this.current === name) this.close();
    else this.open(name, opener);
  }

  open(name, opener) {
    if (name === "rooms" && this.#isColumn()) {
      $("room-name").focus();
      this.#onOpen.rooms();
      return;
    }
    if (this.current && this.current !== name) this.#onOpen.closed(this.current);
    this.#opener = opener ?? document.activeElement;
    this.#panel.dataset.shows = name;
    show(this.#panel, true);
    for (const part of this.#panel.querySelectorAll("section")) show(part, part.id === name);
    this.#markButtons();
    $(name).querySelector("input, h2").focus();
    this.#onOpen[name]?.();
  }

  close() {
    if (this.current) this.#onOpen.closed(this.current);
    show(this.#panel, false);
    this.#markButtons();
    this.#opener?.focus();
  }

  #markButtons() {
    for (const button of document.querySelectorAll("[data-panel]")) {
      button.setAttribute("aria-expanded", button.dataset.panel === this.current);
    }
  }
}

/**
 * Shows the people here, and the absent members of a private room; `pick` is
 * called with the name that the user chooses.
 */
export function showPeople({ names, total, members = [] }, me, pick) {
  const owners = members.filter(({ owner }) => owner).map(({ name }) => name);
  const sorted = [...names].sort((a, b) => Number(b === me) - Number(a === me) || a.localeCompare(b));
  const items = sorted.map((name) => {
    const marks = [name === me && "you", owners.includes(name) && "owner"].filter(Boolean);
    return personItem(name, marks.join(", "), (name === me || !isTag(name)) && pick);
  });
  const rest = total - names.length;
  if (rest > 0) items.push(el("li", {}, el("small", {}, `and ${rest} more`)));
  for (const { name, owner } of members.filter((member) => !names.includes(member.name))) {
    items.push(personItem(name, owner ? "owner, away" : "away", pick));
  }
  $("names").replaceChildren(...items);
}

/** A person of the list, who can be picked if there is a `pick`. */
function personItem(name, about, pick) {
  const label = [nameElement(name), ...(about ? [el("small", {}, about)] : [])];
  const person = pick
    ? el("button", { type: "button", class: "pick", click: () => pick(name) }, ...label)
    : el("span", { class: "pick" }, ...label);
  return el("li", {}, person);
}

/** Shows the user's name and its secret, and whether the system notifies; `null` if it cannot. */
export function showYou(name, secret, notifies) {
  $("you-name").textContent = name ?? "You";
  $("name-name").value ||= name ?? "";
  show($("secret"), Boolean(secret));
  show($("link-button"), Boolean(secret));
  if (!secret) show($("link"), false);
  $("secret-line").textContent = secret ? `/name ${name} ${secret}` : "";
  $("notify").checked = notifies === true;
  $("notify").disabled = notifies === null;
  show($("no-notify"), notifies === null);
}

/** Shows a URL that makes another device the owner of the name, and its QR code. */
export function showLink({ url, qr, for: time }) {
  $("link-time").textContent = time;
  $("link-url").textContent = url;
  const canvas = $("link-code");
  // Four light modules around it, which readers need.
  const [dot, quiet] = [4, 4];
  canvas.width = canvas.height = (qr.length + 2 * quiet) * dot;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "#000";
  qr.forEach((row, y) => [...row].forEach((module, x) => {
    if (module === "#") pen.fillRect((x + quiet) * dot, (y + quiet) * dot, dot, dot);
  }));
  show($("link"), true);
}

/** Sets up a form for the user's name; `take` is called with a valid one. */
export function setUpNameForm(form, take) {
  $(`${form}-form`).addEventListener("submit", (event) => {
    event.preventDefault();
    const field = $(`${form}-name`);
    const name = field.value.trim();
    const isRight = isName(name);
    $(`${form}-wrong`).textContent = isRight ? "" : "A name is 1 to 32 letters, digits or any of - _ . without spaces.";
    field.setAttribute("aria-invalid", !isRight);
    if (isRight) take(name);
  });
}

/**
 * The search panel, with the newest hits first. `find(query, before)` returns a
 * page of hits; `goTo(seq)` brings a message into view. Ignored hits are not
 * shown.
 */
export class Search {
  #find;
  #goTo;
  #isIgnored;
  #query = "";
  #before;

  constructor({ find, goTo, isIgnored }) {
    this.#find = find;
    this.#goTo = goTo;
    this.#isIgnored = isIgnored;
    $("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.start($("words").value.trim());
    });
    $("more").addEventListener("click", () => this.#loadMore());
  }

  start(query) {
    $("words").value = query;
    $("found").replaceChildren();
    show($("more"), false);
    $("search-state").textContent = "";
    this.#query = query;
    this.#before = undefined;
    if (query) this.#loadMore();
  }

  /** Drops the words of an erased message. */
  forget(seq) {
    $("found").querySelector(`[data-seq="${seq}"]`)?.remove();
  }

  async #loadMore() {
    const query = this.#query;
    $("search-state").textContent = "Searching…";
    try {
      const { messages, more } = await this.#find(query, this.#before);
      if (query !== this.#query) return;
      const shown = messages.toReversed().filter((message) => !this.#isIgnored(message));
      for (const message of shown) $("found").append(this.#hit(message));
      this.#before = messages[0]?.seq;
      show($("more"), more);
      const count = $("found").childElementCount;
      $("search-state").textContent = count ? `${count}${more ? " and more" : ""} found` : "Nothing found.";
    } catch (error) {
      $("search-state").textContent = error.message;
    }
  }

  #hit({ seq, at, from, text }) {
    const go = el("button", { type: "button", class: "pick", click: () => this.#goTo(seq) }, nameElement(from.name ?? from.addr), " ", timeElement(Date.parse(at)));
    return el("li", { "data-seq": seq }, go, el("p", { dir: "auto" }, ...excerpt(text, this.#query)));
  }
}

/** The part of a text around the first hit, with its hits marked. */
function excerpt(text, query) {
  const hits = findWords(text, query);
  const begin = text.length > EXCERPT ? Math.max(0, (hits[0]?.[0] ?? 0) - BEFORE_HIT) : 0;
  const end = Math.min(text.length, begin + EXCERPT);
  const parts = [begin > 0 ? "…" : ""];
  let at = begin;
  for (const [from, to] of hits.filter(([, to]) => to <= end)) {
    parts.push(text.slice(at, from), el("mark", {}, text.slice(from, to)));
    at = to;
  }
  return [...parts, text.slice(at, end), end < text.length ? "…" : ""];
}
