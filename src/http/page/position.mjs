// What of the room has been shown: where to resume, what is a repeat, and what
// is missing.

/** How far behind the log a reader is that had better start over at its end. */
const FAR = 5000;

/** The reading of the room, across connections. */
export class Reading {
  /** The log that numbers count in. */
  epoch;
  /** The last number shown. */
  seq;
  /** While nothing of a backlog was shown: how much of it was asked for. */
  #backlog;

  /** Begins with the last `backlog` messages of the room that says welcome. */
  constructor(welcome, backlog) {
    this.epoch = welcome.epoch;
    this.seq = welcome.head;
    this.#backlog = backlog;
  }

  /**
   * Whether what was shown leads up to what comes after this welcome: it does
   * not in another log, nor where too much was missed to show it all.
   */
  goesOn(welcome) {
    return welcome.epoch === this.epoch && welcome.head - this.seq <= FAR && welcome.head >= this.seq;
  }

  /** What to ask for in order to go on. */
  start() {
    return this.#backlog === null ? { after: this.seq, epoch: this.epoch } : { backlog: this.#backlog };
  }

  /**
   * How the next message follows what was shown before: "next", "repeated", or
   * "hole" where something between is missing and nobody has said why.
   */
  take({ seq, prev }) {
    const after = this.seq;
    const first = this.#backlog !== null;
    if (!first && seq <= after) return "repeated";
    this.#backlog = null;
    this.seq = seq;
    return prev > after ? "hole" : "next";
  }

  /** Everything up to `seq` was shown or is not for this room. */
  caughtUp(seq) {
    this.#backlog = null;
    this.seq = Math.max(this.seq, seq);
  }

  /** The log goes on with `next`, wherever that is. */
  skipTo(next) {
    this.#backlog = null;
    this.seq = next - 1;
  }
}
