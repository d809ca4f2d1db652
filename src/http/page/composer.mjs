// The text field: it grows with its text, offers completions, and keeps its
// text over a reload.

import { $, el, show } from "./dom.mjs";
import { perTab } from "./keep.mjs";
import { byteLength } from "./text.mjs";
import { completions, hasSecret } from "./typed.mjs";

/** How many sent texts ArrowUp can fetch. */
const MAX_SENT = 50;

/** The bytes left are shown when they are fewer than this. */
const SHOW_LEFT_BELOW = 500;

export class Composer {
  #text = $("text");
  #offers = $("offers");
  #left = $("left");
  #storageKey;
  #known;
  #items = [];
  #from = 0;
  /** The word before the caret is a command already: Enter gives it. */
  #whole = false;
  #selected = 0;
  /** The text that the field had at first. */
  #loaded;
  /** The texts sent from here, and which of them the field shows. */
  #sent;
  #recalled;
  /** The longest text the server takes, in bytes. */
  limit = 8192;

  /**
   * The kept text belongs to `room`. `known()` returns the known names and rooms.
   * `submit(text)` carries out a typed text, and returns false if it must stay in
   * the field. `scroll(pages)` scrolls the log.
   */
  constructor({ room, known, submit, scroll }) {
    this.#storageKey = `draft ${room}`;
    this.#known = known;
    const text = this.#text;
    this.#sent = perTab.get(`sent ${this.#storageKey}`) ?? [];
    this.#recalled = this.#sent.length;
    this.#loaded = perTab.get(this.#storageKey) ?? "";
    text.value = this.#loaded;
    this.#update();
    text.addEventListener("input", () => this.#update());
    text.addEventListener("blur", () => this.#offer([]));
    const send = () => {
      const typed = text.value;
      if (this.isTooLong || !submit(typed)) return;
      if (!hasSecret(typed.slice(1)) && !/^\/(name|nick|operator|link)\b/.test(typed)) this.#remember(typed);
      this.set("");
    };
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      send();
      text.focus();
    });
    text.addEventListener("keydown", (event) => {
      // A key that ends a composition (of an accent, a syllable) does nothing else.
      if (event.isComposing) return;
      if (this.#items.length && this.#useKey(event)) return event.preventDefault();
      if (event.key === "Enter" && !event.shiftKey) send();
      else if (event.key === "ArrowUp" && this.#recall(-1)) return event.preventDefault();
      else if (event.key === "ArrowDown" && this.#recall(1)) return event.preventDefault();
      else if (event.key === "PageUp") scroll(-1);
      else if (event.key === "PageDown") scroll(1);
      else return;
      event.preventDefault();
    });
  }

  #remember(text) {
    this.#sent = [...this.#sent.filter((other) => other !== text), text].slice(-MAX_SENT);
    perTab.set(`sent ${this.#storageKey}`, this.#sent);
    this.#recalled = this.#sent.length;
  }

  /** Shows the sent text before or after the one shown; false if the field has a text of its own. */
  #recall(step) {
    const shown = this.#sent[this.#recalled] ?? "";
    const next = this.#recalled + step;
    if (this.#text.value !== shown || next < 0 || next > this.#sent.length) return false;
    this.#recalled = next;
    this.set(this.#sent[next] ?? "");
    return true;
  }

  get isTooLong() {
    return byteLength(this.#text.value) > this.limit;
  }

  /** Removes the text that the field had at first, unless the user changed it. */
  dropLoaded() {
    if (this.#text.value === this.#loaded) this.set("");
  }

  focus() {
    this.#text.focus();
  }

  set(text) {
    this.#text.value = text;
    this.#update();
  }

  /** Begins another text. */
  start(text) {
    this.focus();
    this.set(text);
  }

  /** Inserts a text at the caret. */
  insert(words) {
    this.#text.focus();
    this.#text.setRangeText(words, this.#text.selectionStart, this.#text.selectionEnd, "end");
    this.#update();
  }

  #update() {
    const text = this.#text;
    perTab.set(this.#storageKey, text.value || undefined);
    // The field takes its height from an invisible copy of its text. Measuring
    // the field would mean shrinking it first, and the log above would move.
    text.parentElement.dataset.text = text.value;
    const left = this.limit - byteLength(text.value);
    show(this.#left, left < SHOW_LEFT_BELOW);
    this.#left.textContent = left < 0 ? `${-left} bytes too long` : `${left} bytes left`;
    text.setAttribute("aria-invalid", left < 0);
    const at = text.selectionStart;
    const hasCaret = at === text.selectionEnd && document.activeElement === text;
    const { from, items, whole } = hasCaret ? completions(text.value, at, this.#known()) : { from: 0, items: [] };
    this.#from = from;
    this.#whole = whole;
    this.#offer(items);
  }

  /** Handles a key while completions are offered; returns whether it used the key. */
  #useKey({ key, shiftKey }) {
    const count = this.#items.length;
    if (key === "ArrowDown" || key === "ArrowUp") {
      this.#select((this.#selected + (key === "ArrowDown" ? 1 : count - 1)) % count);
    } else if ((key === "Tab" || (key === "Enter" && !this.#whole)) && !shiftKey) {
      this.#complete(this.#items[this.#selected]);
    } else if (key === "Escape") {
      this.#offer([]);
    } else {
      return false;
    }
    return true;
  }

  #complete({ text }) {
    const caret = this.#from + text.length;
    this.#text.setRangeText(text, this.#from, this.#text.selectionStart, "end");
    this.#text.setSelectionRange(caret, caret);
    this.#update();
  }

  #offer(items) {
    this.#items = items;
    show(this.#offers, items.length > 0);
    this.#offers.replaceChildren(
      ...items.map((item, index) => {
        const complete = (event) => {
          // The text field keeps the focus.
          event.preventDefault();
          this.#complete(item);
        };
        const about = item.about ? [el("small", {}, item.about)] : [];
        const attributes = { id: `offer-${index}`, role: "option", mousedown: complete };
        return el("li", attributes, el("bdi", {}, item.label), ...about);
      }),
    );
    this.#select(0);
  }

  #select(index) {
    this.#selected = index;
    const options = [...this.#offers.children];
    options.forEach((option, at) => option.setAttribute("aria-selected", at === index));
    if (options[index]) {
      this.#text.setAttribute("aria-activedescendant", options[index].id);
      options[index].scrollIntoView({ block: "nearest" });
    } else {
      this.#text.removeAttribute("aria-activedescendant");
    }
  }
}
