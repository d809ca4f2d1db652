// The panel of a private conversation with one person.

import { $ } from "./dom.mjs";
import { drawRow, nameElement } from "./row.mjs";
import { dayOf } from "./text.mjs";

/** How many messages are shown first. */
const SHOWN = 50;

export class Talk {
  #on;
  #name = null;
  #last = null;

  /**
   * `on.ask(command)` asks the server, `on.say(name, text)` sends a message and returns whether it
   * could, `on.read(seq)` notes that all was read, `on.fail(text)` shows a sentence.
   */
  constructor(on) {
    this.#on = on;
    $("talk-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = $("talk-text").value;
      if (text.trim() && on.say(this.#name, text)) $("talk-text").value = "";
    });
  }

  get name() {
    return this.#name;
  }

  /** Shows the conversation with a person. */
  async open(name) {
    this.#name = name;
    this.#last = null;
    $("talk-name").replaceChildren(nameElement(name));
    $("talk-list").replaceChildren();
    try {
      const page = await this.#on.ask({ type: "history", with: name, limit: SHOWN });
      if (this.#name !== name) return;
      $("talk-list").replaceChildren();
      this.#last = null;
      for (const message of page.messages) this.#add(message);
      this.#on.read(page.messages.at(-1)?.seq);
    } catch (error) {
      if (this.#name === name) this.#on.fail(error.message);
    }
  }

  close() {
    this.#name = null;
  }

  /** Shows a new private message, if it belongs here. */
  take(message) {
    const other = message.sent ? message.to : message.from.name;
    if (!this.#name || other !== this.#name) return;
    this.#add(message);
    this.#on.read(message.seq);
  }

  /** Shows a note about the other person. */
  note(text) {
    const element = drawRow({ kind: "note", text }, {});
    $("talk-list").append(element);
    element.scrollIntoView({ block: "nearest" });
  }

  #add({ seq, at, from, to, text, sent }) {
    const row = { kind: "private", place: seq, at: Date.parse(at), who: from.name, to, text };
    const day = !this.#last || !dayOf(this.#last, row.at);
    this.#last = row.at;
    const element = drawRow(row, { day, own: Boolean(sent), resized: () => {} });
    $("talk-list").append(element);
    element.scrollIntoView({ block: "nearest" });
  }
}
