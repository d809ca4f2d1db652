// The bar above the text field: the message that the user answers or corrects.

import { $, show } from "./dom.mjs";
import { quoteOf } from "./rows.mjs";

export class Regarding {
  /** `{ kind, about }` of the next message; null for none. */
  #message = null;
  #rowOf;
  #setText;

  /** `rowOf(seq)` returns the row of a message, if there is one; `setText(text)` sets the text of the user. */
  constructor(rowOf, setText) {
    this.#rowOf = rowOf;
    this.#setText = setText;
    $("regarding-cancel").addEventListener("click", () => {
      this.end();
      $("text").focus();
    });
    $("text").addEventListener("keydown", ({ key }) => key === "Escape" && this.end());
  }

  /** Has the next message answer (`reply`) or correct (`edit`) a message. */
  begin(kind, seq) {
    const row = this.#rowOf(seq);
    if (!row || row.kind === "erased") return;
    this.#message = { kind, about: seq };
    if (kind === "edit") this.#setText(row.text);
    this.#draw(row);
    $("text").focus();
  }

  /** The fields `kind` and `about` of the next message, or null. */
  get message() {
    return this.#message;
  }

  /** Shows the text that a message has now. */
  follow(seq) {
    const row = this.#message?.about === seq && this.#rowOf(seq);
    if (row) this.#draw(row);
  }

  /** Forgets a message that was erased; returns whether it was this one. */
  forget(seq) {
    if (this.#message?.about !== seq) return false;
    this.end();
    return true;
  }

  end() {
    if (this.#message?.kind === "edit") this.#setText("");
    this.sent();
  }

  /** The answer or the correction was sent. */
  sent() {
    this.#message = null;
    $("regarding-text").textContent = "";
    show($("regarding"), false);
  }

  #draw({ who, text }) {
    const what = this.#message.kind === "edit" ? "Your correction of" : `Your answer to ${who}`;
    $("regarding-text").textContent = `${what}: ${quoteOf(text)}`;
    show($("regarding"), true);
  }
}
