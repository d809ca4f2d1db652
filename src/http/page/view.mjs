// The visible log. Only the rows near the view are in the document; empty space
// replaces the others. The height of a row is guessed until the row is shown, and
// measured then. Rows in the view stay where they are when rows above them are
// added, removed or measured.

import { el } from "./dom.mjs";
import { Heights } from "./heights.mjs";
import { Rows } from "./rows.mjs";

/** How far beyond the view rows are in the document, in pixels. */
const OVERSCAN = 600;

/** This near to the end counts as at the end, in pixels. */
const AT_END_WITHIN = 32;

/** This near to the top, in pixels, older messages are requested. */
const LOAD_OLDER_WITHIN = 2000;

/** How long changes by scrolling or a replay are kept from screen readers, in milliseconds. */
const QUIET_FOR = 500;

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
  /** The row that stays where it is in the view; null at the end, which then stays in view. */
  #anchor = null;
  #width = 0;
  /** The scroll position set by this view: any other is the reader's. */
  #lastScrollTop = 0;
  /** The heights of the whole log and of the view at the last paint. */
  #logHeight = 0;
  #viewHeight = 0;
  #animationFrame = 0;
  #quietTimer = 0;
  #live = false;

  /**
   * Shows the rows in `log`, below `begin` and above `unconfirmed`. `draw` makes
   * the element of a row, and again when the text from `drawKey` changes.
   * `on.top` is called near the beginning, `on.moved` when the view was moved.
   */
  constructor({ log, begin, unconfirmed, draw, drawKey, on }) {
    this.#log = log;
    this.#begin = begin;
    this.#list = el("ol", { class: "rows", role: "list" });
    this.#draw = { draw, drawKey };
    this.#on = on;
    log.replaceChildren(begin, this.#above, this.#list, this.#below, unconfirmed);
    log.addEventListener("scroll", () => this.#followScroll(), { passive: true });
    const watch = new ResizeObserver(() => {
      // The browser may have scrolled because of the new size. After the next
      // paint that could not be told from the reader's scrolling.
      this.#followScroll();
      this.update();
    });
    for (const part of [log, begin, unconfirmed]) watch.observe(part);
  }

  /** Whether the end is in view and stays in view. */
  get isAtEnd() {
    return this.#anchor === null;
  }

  /** Adds a row at its place; returns how many rows were dropped at the beginning. */
  add(row) {
    this.#followScroll();
    const index = this.rows.add(row);
    if (index < 0) {
      this.update();
      return 0;
    }
    this.#heights.insert(index, this.#guess(row));
    const dropped = this.rows.trim();
    if (dropped) {
      this.#heights.dropFirst(dropped);
      this.paint();
    } else {
      this.update();
    }
    return dropped;
  }

  /**
   * Adds rows at the beginning. Rows added or dropped there are painted at once:
   * the heights above a scroll position say which row is there.
   */
  unshift(rows) {
    this.#followScroll();
    const { moved, older } = this.rows.unshift(rows);
    this.#heights.dropFirst(moved);
    this.#heights.unshift(older.map((row) => this.#guess(row)));
    this.paint();
  }

  redact(seq) {
    // It may be quoted although its row is not loaded.
    this.rows.redact(seq);
    this.update();
  }

  /** Shows a change of a message. */
  change(change) {
    this.rows.change(change);
    this.update();
  }

  clear() {
    this.rows.clear();
    this.#heights.reset([]);
    this.toEnd();
  }

  /** Sets whether screen readers read new rows at the end aloud. */
  set live(live) {
    this.#live = live;
    this.#pauseReading();
  }

  toEnd() {
    this.#anchor = null;
    this.update();
    this.#on.moved();
  }

  /** Brings the row of a message into view; returns whether there is one. */
  toMessage(seq) {
    const index = this.rows.indexOf(seq);
    if (index < 0) return false;
    this.#anchor = { row: this.rows.at(index), offset: -this.#log.clientHeight / 3 };
    this.paint();
    const element = this.#shown.get(this.rows.at(index));
    element.classList.remove("found");
    // In the next animation frame: so the animation runs again on the same row.
    requestAnimationFrame(() => element.classList.add("found"));
    return true;
  }

  scrollBy(pages) {
    this.#log.scrollBy({ top: pages * this.#log.clientHeight * 0.9 });
  }

  /** Schedules one paint for all changes before the next animation frame. */
  update() {
    this.#animationFrame ||= requestAnimationFrame(() => this.paint());
  }

  paint() {
    cancelAnimationFrame(this.#animationFrame);
    this.#animationFrame = 0;
    const log = this.#log;
    this.#followScroll();
    if (log.clientWidth !== this.#width) {
      this.#width = log.clientWidth;
      this.#heights.reset(this.rows.all.map((row) => this.#guess(row)));
    }
    // Drawn rows may be lower than guessed, which leaves room for more rows. Each
    // round only measures more heights, so the rounds end.
    for (let round = 0; round < 8; round += 1) {
      const y = this.#wantedScrollTop() - this.#begin.offsetHeight;
      const first = this.#heights.at(y - OVERSCAN);
      const last = this.#heights.at(y + log.clientHeight + OVERSCAN);
      this.#show(first, last);
      if (!this.#measure(first, last)) break;
    }
    const y = this.#wantedScrollTop();
    if (Math.abs(log.scrollTop - y) >= 1) log.scrollTop = y;
    this.#lastScrollTop = log.scrollTop;
    this.#logHeight = log.scrollHeight;
    this.#viewHeight = log.clientHeight;
    if (this.#lastScrollTop < LOAD_OLDER_WITHIN) this.#on.top();
  }

  /** The scroll position at which the view should be. */
  #wantedScrollTop() {
    const log = this.#log;
    if (!this.#anchor) return Math.max(0, log.scrollHeight - log.clientHeight);
    const { row, offset } = this.#anchor;
    let index = this.rows.find(row.place);
    while (this.rows.at(index)?.place === row.place && this.rows.at(index) !== row) index += 1;
    if (this.rows.at(index) !== row) index = Math.min(this.rows.find(row.place), this.rows.length - 1);
    return Math.max(0, this.#begin.offsetHeight + this.#heights.top(Math.max(0, index)) + offset);
  }

  /** Puts exactly these rows into the document. */
  #show(first, last) {
    const wanted = new Map();
    for (let index = first; index <= last && index < this.rows.length; index += 1) {
      const row = this.rows.at(index);
      const drawKey = this.#draw.drawKey(row, index);
      let element = this.#shown.get(row);
      if (element?.dataset.drawKey !== drawKey) {
        const drawn = this.#draw.draw(row, index);
        drawn.dataset.drawKey = drawKey;
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

  /** Measures the drawn rows; returns whether any height changed. */
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

  /** A guess at the height of a row, by the length of its text. */
  #guess(row) {
    const letters = Math.max(20, (this.#width - 90) / 7.5);
    let lines = 0;
    for (const line of row.text.split("\n")) lines += Math.max(1, Math.ceil(line.length / letters));
    return lines * 22 + 10;
  }

  /** Anchors the view where the reader has scrolled to. */
  #followScroll() {
    const log = this.#log;
    if (Math.abs(log.scrollTop - this.#lastScrollTop) < 1) return;
    const up = log.scrollTop < this.#lastScrollTop;
    this.#lastScrollTop = log.scrollTop;
    // When the log gets shorter or the view higher, the browser scrolls up by
    // itself, and rows may have been added below since.
    const resized = log.scrollHeight !== this.#logHeight || log.clientHeight !== this.#viewHeight;
    if (this.isAtEnd && up && resized) return this.update();
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - AT_END_WITHIN;
    const y = log.scrollTop - this.#begin.offsetHeight;
    const index = this.#heights.at(y);
    const row = this.rows.at(index);
    this.#anchor = atEnd || !row ? null : { row, offset: y - this.#heights.top(index) };
    this.#pauseReading();
    this.update();
    this.#on.moved();
  }

  /** Keeps screen readers from reading the rows drawn now: they are not new. */
  #pauseReading() {
    this.#log.setAttribute("aria-live", "off");
    clearTimeout(this.#quietTimer);
    if (!this.#live || !this.isAtEnd) return;
    this.#quietTimer = setTimeout(() => this.#log.setAttribute("aria-live", "polite"), QUIET_FOR);
  }
}
