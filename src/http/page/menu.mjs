// The menu of a message. It opens by the button of the message, or by a long
// press.

import { $, el, show } from "./dom.mjs";

/** The reactions offered at once. */
const REACTIONS = ["👍", "❤️", "😄", "🎉", "👀"];

/** How long a press is before it opens the menu, in milliseconds. */
const LONG_PRESS = 500;

export class Menu {
  #menu = $("menu");
  /** The element that gets the focus back. */
  #opener;
  #press = 0;

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
    const stop = () => clearTimeout(this.#press);
    log.addEventListener("pointerdown", ({ pointerType, target }) => {
      const opener = target.closest?.(".row")?.querySelector(".more");
      if (pointerType !== "touch" || !opener || target.closest("a, button")) return;
      this.#press = setTimeout(() => open(Number(opener.closest(".row").dataset.seq), opener), LONG_PRESS);
    });
    for (const kind of ["pointerup", "pointercancel", "pointermove"]) log.addEventListener(kind, stop, { passive: true });
    log.addEventListener("scroll", () => this.#close(), { passive: true });
    document.addEventListener("pointerdown", ({ target }) => this.#menu.contains(target) || this.#close());
    this.#menu.addEventListener("focusout", ({ relatedTarget }) => this.#menu.contains(relatedTarget) || this.#close());
    this.#menu.addEventListener("keydown", (event) => this.#useKey(event));
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
    this.#menu.style.top = `${bottom + height < innerHeight ? bottom : Math.max(4, top - height)}px`;
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
