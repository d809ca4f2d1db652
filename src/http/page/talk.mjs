// The panel of a private conversation with one person.

import { $, show } from "./dom.mjs";
import { drawRow, nameElement } from "./row.mjs";
import { dayOf, nameKey } from "./text.mjs";

/** The most messages shown. */
const MAX_SHOWN = 1000;

export class Talk {
  #on;
  #name = null;
  /** The rows shown, in order. */
  #rows = [];
  /** The rows that came since the conversation was opened: the log does not show them. */
  #taken = [];
  #hasFailed = false;

  /**
   * `on.load(name, before)` returns a page of messages, as `{ rows, more }`. `on.say(name, text)`
   * sends a message and returns whether it could. `on.read(name, seq)` notes that all was read.
   */
  constructor(on) {
    this.#on = on;
    $("talk-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = $("talk-text").value;
      if (text.trim() && on.say(this.#name, text)) $("talk-text").value = "";
    });
    $("talk-older").addEventListener("click", () => this.#load());
    addEventListener("focus", () => this.#tellRead());
  }

  /** Whether the conversation with a person is open. */
  isWith(name) {
    return Boolean(this.#name && name) && nameKey(name) === nameKey(this.#name);
  }

  /** Shows the conversation with a person, and the unsent messages to that person. */
  open(name) {
    this.#name = name;
    this.#rows = [];
    $("talk-name").replaceChildren(nameElement(name));
    $("talk-list").replaceChildren();
    show($("talk-older"), false);
    const unsent = [...$("unsent").children].filter(({ dataset }) => this.isWith(dataset.to));
    $("talk-unsent").append(...unsent);
    return this.#load();
  }

  /** Ends the conversation; returns the rows that came meanwhile. */
  close() {
    this.#name = null;
    $("unsent").append(...$("talk-unsent").children);
    return this.#taken.splice(0);
  }

  /** Reads the conversation again: the user has another name, or the server another history. */
  restart() {
    if (this.#name) this.open(this.#name);
  }

  /** Reads what could not be read before. */
  retry() {
    if (this.#name && this.#hasFailed) this.#load();
  }

  /** Begins another text. */
  start(text) {
    $("talk-text").value = text;
    $("talk-text").focus();
  }

  /** Takes the row of a new message; returns false if it does not belong here. */
  take(row) {
    if (!this.isWith(row.own ? row.to : row.who)) return false;
    this.#taken.push(row);
    const last = this.#rows.at(-1);
    // The page that was read just now may have it.
    if (last && row.place <= last.place) return true;
    this.#rows.push(row);
    $("talk-list").append(this.#draw(row, last));
    if (this.#rows.length > MAX_SHOWN) {
      this.#rows.shift();
      $("talk-list").firstChild.remove();
      show($("talk-older"), true);
    }
    $("talk-state").textContent = "";
    this.showEnd();
    this.#tellRead();
    return true;
  }

  showEnd() {
    $("talk-log").scrollTop = $("talk-log").scrollHeight;
  }

  /** Loads the last messages, or those before the ones shown. */
  async #load() {
    const name = this.#name;
    $("talk-state").textContent = "Loading…";
    try {
      const first = this.#rows[0]?.place;
      const { rows, more } = await this.#on.load(name, first);
      if (this.#name !== name) return;
      const older = rows.filter(({ place }) => !(place >= this.#rows[0]?.place));
      this.#rows.unshift(...older);
      const log = $("talk-log");
      const below = log.scrollHeight - log.scrollTop;
      $("talk-list").replaceChildren(...this.#rows.map((row, index) => this.#draw(row, this.#rows[index - 1])));
      $("talk-state").textContent = this.#rows.length ? "" : `No messages with ${name} yet.`;
      show($("talk-older"), more);
      if (first) log.scrollTop = log.scrollHeight - below;
      else this.showEnd();
      this.#hasFailed = false;
      this.#tellRead();
    } catch (error) {
      if (this.#name !== name) return;
      this.#hasFailed = true;
      $("talk-state").textContent = error.message;
    }
  }

  #draw(row, before) {
    const day = !before || dayOf(before.at) !== dayOf(row.at);
    return drawRow(row, { day, own: row.own, resized: () => {} });
  }

  /** Shows a note about the other person. */
  note(text) {
    $("talk-list").append(drawRow({ kind: "note", text }, {}));
    this.showEnd();
  }

  /** The user reads what is in view. */
  #tellRead() {
    const last = this.#rows.at(-1)?.place;
    if (this.#name && last && !document.hidden && document.hasFocus()) this.#on.read(this.#name, last);
  }
}
