// Unseen messages: counted, marked in the log and, if the reader asked for it,
// announced by system notifications.

import { shared } from "./keep.mjs";
import { truncate } from "./text.mjs";

const NOTIFY = "notify";

/** The delay before the browser keeps the last number seen, in milliseconds. */
const SAVE_DELAY = 1000;

export class Attention {
  /** How many messages of others the reader has not seen. */
  unseen = 0;
  /** How many of them are private or mention the reader. */
  #unseenForMe = 0;
  /** The place of the first of them, where the log is marked. */
  firstUnseen = null;
  #room;
  #on;
  #seen;
  #timer = 0;

  /**
   * `on.isAtEnd()` returns whether the end is in view, `on.last()` the last
   * place of the log. `on.changed()` is called when messages become seen or
   * unseen, `on.read(seq)` when all up to a message are, `on.go(seq)` to bring a
   * message into view.
   */
  constructor(room, on) {
    this.#room = room;
    this.#on = on;
    this.#seen = shared.get(`seen ${room}`);
    addEventListener("focus", () => this.markSeen());
    document.addEventListener("visibilitychange", () => this.markSeen());
  }

  /** Whether the reader sees new messages. */
  get isWatching() {
    return !document.hidden && document.hasFocus() && this.#on.isAtEnd();
  }

  /**
   * Starts in the log of an epoch. In another log no message was seen, or all up
   * to `after`. On another device all up to `read` were.
   */
  begin(epoch, after = null, read = 0) {
    if (this.#seen?.epoch !== epoch) this.#seen = { epoch, seq: after };
    if (read > (this.#seen.seq ?? 0)) this.#seen.seq = read;
  }

  /** How many unseen messages are for the reader. */
  get unseenForMe() {
    return this.#unseenForMe;
  }

  /** Counts a message: by the reader (`own`), for the reader (`forMe`), live (`isNews`). */
  count(row, { own, forMe, isNews }) {
    const last = this.#seen;
    const known = !isNews && (last.seq === null || row.seq <= last.seq);
    if (own) this.firstUnseen = null;
    if (own || known || this.isWatching) {
      this.#recordSeen(row.seq);
      return;
    }
    if (this.unseen === 0) this.firstUnseen = row.place;
    this.unseen += 1;
    if (forMe) {
      this.#unseenForMe += 1;
      this.#notify(row);
    }
    this.#showUnseen();
  }

  /** Marks all as seen if the reader has come back or scrolled down. */
  markSeen() {
    if (!this.isWatching) return;
    this.unseen = 0;
    this.#unseenForMe = 0;
    this.#recordSeen(this.#on.last());
    this.#showUnseen();
  }

  #recordSeen(seq) {
    if (!this.#seen || !(seq > (this.#seen.seq ?? 0))) return;
    this.#seen.seq = Math.floor(seq);
    this.#on.read(this.#seen.seq);
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      shared.set(`seen ${this.#room}`, this.#seen);
    }, SAVE_DELAY);
  }

  #showUnseen() {
    this.#on.changed();
  }

  /** Whether the system notifies the reader; `null` if it cannot. */
  get notifies() {
    if (!("Notification" in globalThis) || !isSecureContext || Notification.permission === "denied") return null;
    return Notification.permission === "granted" && shared.get(NOTIFY) === true;
  }

  /** Turns notifications on, if the reader permits them, or off. */
  async setNotifies(wanted) {
    const may = wanted && (await Notification.requestPermission()) === "granted";
    shared.set(NOTIFY, may || undefined);
  }

  #notify(row) {
    if (!this.notifies) return;
    try {
      // The tag makes several tabs replace one another's notification.
      const tag = `${this.#room} ${row.seq}`;
      const notification = new Notification(`${row.who} in ${this.#room}`, { body: truncate(row.text, 200), tag });
      notification.onclick = () => {
        focus();
        notification.close();
        this.#on.go(row.seq);
      };
    } catch {
      // Browsers on phones notify only for installed pages.
    }
  }
}
