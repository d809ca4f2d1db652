// The log as it is seen. Only the rows near the view are in the document; what
// is above and below them is empty space of their height, measured where they
// were shown once, guessed where not. What stands in the view stays where it is,
// whatever comes, goes or turns out to be higher above it.

import { el } from "./dom.mjs";
import { Heights } from "./heights.mjs";
import { Rows } from "./rows.mjs";

/** How far beyond the view there are rows, in pixels. */
const BEYOND = 600;

/** This near to the end is at the end. */
const NEAR = 32;

/** From this far on older messages are asked for. */
const OLDER = 2000;

/** When what was changed by scrolling or a replay is surely not read aloud any more. */
const SETTLED = 500;

export class View {
  rows = new Rows();
  #heights = new Heights();
  #log;
  #begin;
  #above = el("div", { class: "space" });
  #list;
  #below = el("div", { class: "space" });
  #draw;
  #on;
  /** The elements of the rows that are in the document, by row. */
  #shown = new Map();
  /** The row in the view that stays where it is; none at the end, which stays in view. */
  #anchor = null;
  #width = 0;
  /** Where it was scrolled to from here: other scrolling is the reader's. */
  #scrolled = 0;
  /** How high all of it, and the view, were when it was painted. */
  #whole = 0;
  #view = 0;
  #frame = 0;
  #quiet = 0;
  #live = false;

  /**
   * In `log`, with `begin` above and `unsent` below all rows. `draw` makes the
   * element of a row, `look` says of what else it depends; `on.top` hears that
   * the beginning is near, `on.moved` that the view was moved.
   */
  constructor({ log, begin, unsent, draw, look, on }) {
    this.#log = log;
    this.#begin = begin;
    this.#list = el("ol", { class: "rows", role: "list" });
    this.#draw = { draw, look };
    this.#on = on;
    log.replaceChildren(begin, this.#above, this.#list, this.#below, unsent);
    log.addEventListener("scroll", () => this.#moved(), { passive: true });
    const watch = new ResizeObserver(() => {
      // What the browser moves for it can be told from the reader's scrolling
      // only as long as it is so.
      this.#moved();
      this.update();
    });
    for (const part of [log, begin, unsent]) watch.observe(part);
  }

  /** Whether the end is in view, and stays there. */
  get isAtEnd() {
    return this.#anchor === null;
  }

  /** Adds a row where it belongs; how many were forgotten at the beginning for it. */
  add(row) {
    this.#moved();
    const index = this.rows.add(row);
    if (index < 0) {
      this.update();
      return 0;
    }
    this.#heights.insert(index, this.#guess(row));
    const gone = this.rows.trim();
    if (gone) {
      this.#heights.dropFirst(gone);
      this.paint();
    } else {
      this.update();
    }
    return gone;
  }

  /**
   * Adds rows at the beginning. That, and forgetting some, is painted at once:
   * where the reader scrolls to is looked up by what stands above.
   */
  unshift(rows) {
    this.#moved();
    const { moved, older } = this.rows.unshift(rows);
    this.#heights.dropFirst(moved);
    this.#heights.unshift(older.map((row) => this.#guess(row)));
    this.paint();
  }

  erase(seq) {
    if (this.rows.erase(seq) >= 0) this.update();
  }

  clear() {
    this.rows.clear();
    this.#heights.reset([]);
    this.toEnd();
  }

  /** What comes at the end from now on is news, to be read aloud. */
  set live(live) {
    this.#live = live;
    this.#hush();
  }

  toEnd() {
    this.#anchor = null;
    this.update();
    this.#on.moved();
  }

  /** Brings the row of a message into view; whether there is one. */
  toMessage(seq) {
    const index = this.rows.indexOf(seq);
    if (index < 0) return false;
    this.#anchor = { row: this.rows.at(index), offset: -this.#log.clientHeight / 3 };
    this.paint();
    const element = this.#shown.get(this.rows.at(index));
    element.classList.remove("found");
    // So that it is noticed again where it is the same one.
    requestAnimationFrame(() => element.classList.add("found"));
    return true;
  }

  scrollBy(pages) {
    this.#log.scrollBy({ top: pages * this.#log.clientHeight * 0.9 });
  }

  /** Has it painted with the next frame: many changes are one. */
  update() {
    this.#frame ||= requestAnimationFrame(() => this.paint());
  }

  paint() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const log = this.#log;
    this.#moved();
    if (log.clientWidth !== this.#width) {
      this.#width = log.clientWidth;
      this.#heights.reset(this.rows.all.map((row) => this.#guess(row)));
    }
    // What is drawn may turn out to be lower than was guessed: then there is
    // room for more. Heights only get known, so this ends.
    for (let round = 0; round < 8; round += 1) {
      const y = this.#wanted() - this.#begin.offsetHeight;
      const first = this.#heights.at(y - BEYOND);
      const last = this.#heights.at(y + log.clientHeight + BEYOND);
      this.#show(first, last);
      if (!this.#measure(first, last)) break;
    }
    const y = this.#wanted();
    if (Math.abs(log.scrollTop - y) >= 1) log.scrollTop = y;
    this.#scrolled = log.scrollTop;
    this.#whole = log.scrollHeight;
    this.#view = log.clientHeight;
    if (this.#scrolled < OLDER) this.#on.top();
  }

  /** Where the view is to begin, from the top of all. */
  #wanted() {
    const log = this.#log;
    if (!this.#anchor) return Math.max(0, log.scrollHeight - log.clientHeight);
    const { row, offset } = this.#anchor;
    let index = this.rows.find(row.place);
    while (this.rows.at(index)?.place === row.place && this.rows.at(index) !== row) index += 1;
    if (this.rows.at(index) !== row) index = Math.min(this.rows.find(row.place), this.rows.length - 1);
    return Math.max(0, this.#begin.offsetHeight + this.#heights.top(Math.max(0, index)) + offset);
  }

  /** Has exactly these rows in the document. */
  #show(first, last) {
    const wanted = new Map();
    for (let index = first; index <= last && index < this.rows.length; index += 1) {
      const row = this.rows.at(index);
      const look = this.#draw.look(row, index);
      let element = this.#shown.get(row);
      if (element?.dataset.look !== look) {
        const drawn = this.#draw.draw(row, index);
        drawn.dataset.look = look;
        element?.replaceWith(drawn);
        element = drawn;
      }
      wanted.set(row, element);
    }
    for (const [row, element] of this.#shown) {
      if (!wanted.has(row)) element.remove();
    }
    let place = this.#list.firstChild;
    for (const element of wanted.values()) {
      if (place === element) place = place.nextSibling;
      else this.#list.insertBefore(element, place);
    }
    this.#shown = wanted;
    this.#above.style.height = `${this.#heights.top(first)}px`;
    const end = this.#heights.top(Math.min(last + 1, this.rows.length));
    this.#below.style.height = `${this.#heights.total - end}px`;
  }

  /** Learns the heights of what is drawn; whether any was another one. */
  #measure(first, last) {
    let changed = false;
    for (let index = first; index <= last && index < this.rows.length; index += 1) {
      const { height } = this.#shown.get(this.rows.at(index)).getBoundingClientRect();
      if (Math.abs(height - this.#heights.get(index)) > 0.01) {
        this.#heights.set(index, height);
        changed = true;
      }
    }
    return changed;
  }

  /** The height a row may have, by the length of its text. */
  #guess(row) {
    const letters = Math.max(20, (this.#width - 90) / 7.5);
    let lines = 0;
    for (const line of row.text.split("\n")) lines += Math.max(1, Math.ceil(line.length / letters));
    return lines * 22 + 10;
  }

  /** Where the reader has scrolled to is where it stays. */
  #moved() {
    const log = this.#log;
    if (Math.abs(log.scrollTop - this.#scrolled) < 1) return;
    const up = log.scrollTop < this.#scrolled;
    this.#scrolled = log.scrollTop;
    // Where there is less to see than before, or more of it in view, the browser
    // goes up by itself, and something may have come below since.
    const other = log.scrollHeight !== this.#whole || log.clientHeight !== this.#view;
    if (this.isAtEnd && up && other) return this.update();
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - NEAR;
    const y = log.scrollTop - this.#begin.offsetHeight;
    const index = this.#heights.at(y);
    const row = this.rows.at(index);
    this.#anchor = atEnd || !row ? null : { row, offset: y - this.#heights.top(index) };
    this.#hush();
    this.update();
    this.#on.moved();
  }

  /** What is drawn now is nothing new: not to be read aloud. */
  #hush() {
    this.#log.setAttribute("aria-live", "off");
    clearTimeout(this.#quiet);
    if (!this.#live || !this.isAtEnd) return;
    this.#quiet = setTimeout(() => this.#log.setAttribute("aria-live", "polite"), SETTLED);
  }
}
