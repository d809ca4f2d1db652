// The panels next to the log: people, rooms, search, the user, help. One is open
// at a time; on a narrow screen it covers the log.

import { COMMANDS } from "./commands.mjs";
import { $, base, el, show } from "./dom.mjs";
import { linked, nameElement, timeElement } from "./row.mjs";
import { isName, isRoom } from "./typed.mjs";

export class Panels {
  #panel = $("panel");
  #opener = null;
  /** The function that each panel calls when it opens. */
  #onOpen;

  constructor(onOpen) {
    this.#onOpen = onOpen;
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
    this.#opener = opener ?? document.activeElement;
    this.#panel.dataset.shows = name;
    show(this.#panel, true);
    for (const part of this.#panel.querySelectorAll("section")) show(part, part.id === name);
    this.#markButtons();
    $(name).querySelector("input, h2").focus();
    this.#onOpen[name]?.();
  }

  close() {
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

/** Shows the members; `pick` is called with the name that the user chooses. */
export function showPeople({ names, total }, me, pick) {
  const sorted = [...names].sort((a, b) => Number(b === me) - Number(a === me) || a.localeCompare(b));
  const items = sorted.map((name) => {
    const you = name === me ? [el("small", {}, " you")] : [];
    return el("li", {}, el("button", { type: "button", class: "pick", click: () => pick(name) }, nameElement(name), ...you));
  });
  const rest = total - names.length;
  if (rest > 0) items.push(el("li", {}, el("small", {}, `and ${rest} more`)));
  $("names").replaceChildren(...items);
}

export function showRooms({ rooms, total }, here) {
  const items = rooms.map(({ room, members, topic }) => {
    const current = room === here ? "page" : undefined;
    const link = el("a", { href: `${base}/${room}`, "aria-current": current }, room);
    const about = topic ? [el("p", { dir: "auto" }, topic)] : [];
    return el("li", {}, link, " ", el("small", {}, `${members} here`), ...about);
  });
  const rest = total - rooms.length;
  if (rest > 0) items.push(el("li", {}, el("small", {}, `and ${rest} more`)));
  $("room-list").replaceChildren(...items);
}

/** Shows the user's name and its secret, and whether the system notifies; `null` if it cannot. */
export function showYou(name, secret, notifies) {
  $("you-name").textContent = name ?? "You";
  $("name-name").value ||= name ?? "";
  show($("secret"), Boolean(secret));
  $("secret-line").textContent = secret ? `/name ${name} ${secret}` : "";
  $("notify").checked = notifies === true;
  $("notify").disabled = notifies === null;
  show($("no-notify"), notifies === null);
}

/** Sets up the form for a room; `go` is called with a valid name. */
export function setUpRoomForm(go) {
  setUpForm("room-form", "room-name", "room-wrong", (room) => {
    if (!isRoom(room)) return "A room is 1 to 64 of the characters a-z 0-9 . _ - and begins with a letter, a digit or _.";
    go(room.toLowerCase());
    return "";
  });
}

/** Sets up the form for the user's name; `take` is called with a valid one. */
export function setUpNameForm(take) {
  setUpForm("name-form", "name-name", "name-wrong", (name) => {
    if (!isName(name)) return "A name is 1 to 32 letters, digits or any of - _ . without spaces.";
    take(name);
    return "";
  });
}

/** Sets up a form of one field; `take` returns the complaint to show below it, or "". */
function setUpForm(form, field, wrong, take) {
  $(form).addEventListener("submit", (event) => {
    event.preventDefault();
    const complaint = take($(field).value.trim());
    $(wrong).textContent = complaint;
    $(field).setAttribute("aria-invalid", Boolean(complaint));
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
    return el("li", {}, go, el("p", { dir: "auto" }, ...linked(text)));
  }
}
