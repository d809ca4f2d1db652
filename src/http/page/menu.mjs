// The menu of a message. It opens by the button of the message, or by a long
// press.

import { $, el, show } from "./dom.mjs";

/** The reactions offered at once. */
const REACTIONS = ["👍", "❤️", "😄", "🎉", "👀"];

/** How long a press is before it opens the menu, in milliseconds. */
const LONG_PRESS = 500;

/** How far a pressing finger may move, in pixels. */
const MAX_MOVED = 10;

export class Menu {
  #menu = $("menu");
  /** The element that gets the focus back. */
  #opener;
  /** The press that may become a long one: its `opener`, place and `timer`. */
  #press = null;
  /** The finger of the long press may still be down. */
  #isHeld = false;

  /**
   * Listens to the presses in `log`. `choices(seq)` are what can be done about a
   * message: `[label, act]` each. `react(seq, text)` reacts to it.
   */
  constructor(log, { choices, react }) {
    const open = (seq, opener) => this.#open(seq, opener, choices, react);
    log.addEventListener("click", ({ target }) => {
      const opener = target.closest?.(".more");
      if (opener) open(Number(opener.closest(".row").dataset.seq), opener);
    });
    const press = () => {
      const { opener } = this.#press;
      this.#stopPress();
      this.#isHeld = true;
      open(Number(opener.closest(".row").dataset.seq), opener);
    };
    log.addEventListener("pointerdown", ({ pointerType, target, clientX: x, clientY: y }) => {
      const opener = target.closest?.(".row")?.querySelector(".more");
      this.#isHeld = false;
      if (pointerType !== "touch" || !opener || target.closest("a, button, .code")) return;
      this.#press = { opener, x, y, timer: setTimeout(press, LONG_PRESS) };
    });
    log.addEventListener("pointermove", ({ clientX, clientY }) => {
      if (this.#press && Math.hypot(clientX - this.#press.x, clientY - this.#press.y) > MAX_MOVED) this.#stopPress();
    }, { passive: true });
    for (const kind of ["pointerup", "pointercancel"]) log.addEventListener(kind, () => this.#stopPress(), { passive: true });
    // The leaving finger would click on the message, and so close the menu.
    log.addEventListener("touchend", (event) => this.#isHeld && event.preventDefault());
    // The browser's own menu may come first, and would cancel the press.
    log.addEventListener("contextmenu", (event) => {
      if (this.#press) press();
      else if (this.#menu.hidden || event.pointerType !== "touch") return;
      event.preventDefault();
    });
    log.addEventListener("scroll", () => this.#close(), { passive: true });
    document.addEventListener("pointerdown", ({ target }) => this.#menu.contains(target) || this.#close());
    this.#menu.addEventListener("focusout", ({ relatedTarget }) => this.#menu.contains(relatedTarget) || this.#close());
    this.#menu.addEventListener("keydown", (event) => this.#useKey(event));
  }

  #stopPress() {
    clearTimeout(this.#press?.timer);
    this.#press = null;
  }

  #open(seq, opener, choices, react) {
    const item = (label, act, more) =>
      el("button", { type: "button", role: "menuitem", tabindex: "-1", click: () => this.#choose(act), ...more }, label);
    const quick = REACTIONS.map((text) => item(text, () => react(seq, text), { "aria-label": `React ${text}` }));
    this.#menu.replaceChildren(
      el("div", { role: "none", class: "quick" }, ...quick),
      ...choices(seq).map(([label, act]) => item(label, act)),
    );
    this.#opener = opener;
    show(this.#menu, true);
    // Next to its button, but inside of the window.
    const { right, bottom, top } = opener.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.#menu;
    this.#menu.style.left = `${Math.max(4, Math.min(right, innerWidth - 4) - width)}px`;
    this.#menu.style.top = `${Math.max(4, Math.min(bottom + height < innerHeight ? bottom : top - height, innerHeight - height - 4))}px`;
    this.#menu.querySelector("button").focus();
  }

  #choose(act) {
    this.#close();
    act();
  }

  #close() {
    if (this.#menu.hidden) return;
    const hasFocus = this.#menu.contains(document.activeElement);
    show(this.#menu, false);
    if (hasFocus) this.#opener.focus();
  }

  #useKey(event) {
    const items = [...this.#menu.querySelectorAll("button")];
    const at = items.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (step) items[(at + step + items.length) % items.length].focus();
    else if (event.key === "Home") items[0].focus();
    else if (event.key === "End") items.at(-1).focus();
    else if (event.key === "Escape") this.#close();
    else return;
    event.preventDefault();
  }
}
