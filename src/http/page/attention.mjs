// What the reader has not seen: counted in the title, marked in the log, and for
// who asked for it told by the system.

import { ours } from "./keep.mjs";
import { beginning } from "./text.mjs";

const NOTIFY = "notify";

/** How long a message must have been in view before the next visit knows it. */
const NOTED = 1000;

export class Attention {
  /** How many messages of others were not seen, and how many of them are for the reader. */
  unseen = 0;
  #named = 0;
  /** The first of them: what is fresh begins there. */
  fresh = null;
  #room;
  #on;
  #seen;
  #timer = 0;

  /**
   * `on.isAtEnd()` says whether the end is in view, `on.changed()` hears that
   * something is seen or unseen, `on.go(seq)` is to bring a message into view.
   */
  constructor(room, on) {
    this.#room = room;
    this.#on = on;
    this.#seen = ours.get(`seen ${room}`);
    for (const event of ["focus", "visibilitychange"]) addEventListener(event, () => this.look());
    document.addEventListener("visibilitychange", () => this.look());
  }

  /** Whether the reader sees what comes. */
  get isThere() {
    return !document.hidden && document.hasFocus() && this.#on.isAtEnd();
  }

  /** In another log nothing was seen. */
  begin(epoch) {
    if (this.#seen?.epoch !== epoch) this.#seen = { epoch, seq: null };
  }

  /** A message came, of oneself or another; perhaps for the reader. */
  came(row, { own, forMe, isNews }) {
    const last = this.#seen;
    const known = !isNews && (last.seq === null || row.seq <= last.seq);
    if (own) this.fresh = null;
    if (own || known || this.isThere) {
      this.#note(row.seq);
      return;
    }
    if (this.unseen === 0) this.fresh = row.place;
    this.unseen += 1;
    if (forMe) {
      this.#named += 1;
      this.#notify(row);
    }
    this.#show();
  }

  /** The reader may have come back, or scrolled down. */
  look() {
    if (!this.isThere) return;
    this.unseen = 0;
    this.#named = 0;
    this.#note(this.#on.last());
    this.#show();
  }

  #note(seq) {
    if (!this.#seen || !(seq > (this.#seen.seq ?? 0))) return;
    this.#seen.seq = Math.floor(seq);
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      ours.set(`seen ${this.#room}`, this.#seen);
    }, NOTED);
  }

  #show() {
    const badge = this.#named ? `(${this.#named}) ` : this.unseen ? "• " : "";
    document.title = `${badge}${this.#room} · broadcast-chat`;
    this.#on.changed();
  }

  /** Whether the system tells of what is for the reader; `null` where it cannot. */
  get notifies() {
    if (!("Notification" in globalThis) || !isSecureContext || Notification.permission === "denied") return null;
    return Notification.permission === "granted" && ours.get(NOTIFY) === true;
  }

  /** Asks the reader's leave to do so, or leaves it off. */
  async setNotifies(wanted) {
    const may = wanted && (await Notification.requestPermission()) === "granted";
    ours.set(NOTIFY, may || undefined);
  }

  #notify(row) {
    if (!this.notifies) return;
    try {
      // Of several tabs the last one speaks.
      const tag = `${this.#room} ${row.seq}`;
      const told = new Notification(`${row.who} in ${this.#room}`, { body: beginning(row.text, 200), tag });
      told.onclick = () => {
        focus();
        told.close();
        this.#on.go(row.seq);
      };
    } catch {
      // A phone's browser has them only for installed pages.
    }
  }
}
