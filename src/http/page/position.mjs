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
  /** The number up to which private messages were shown, for whoever has a name. */
  #inbox;
  /** While nothing of a backlog was shown: how much of it was asked for. */
  #backlog;

  /** Begins with the last `backlog` messages of the room that says welcome. */
  constructor(welcome, backlog, inbox = welcome.inbox) {
    this.epoch = welcome.epoch;
    this.seq = welcome.head;
    this.#inbox = inbox;
    this.#backlog = backlog;
  }

  /** The same from the end of the log on; only private messages go on. */
  anew(welcome, backlog) {
    return new Reading(welcome, backlog, this.#inbox);
  }

  /** Whether anything was shown, or there was nothing to show. */
  get hasBegun() {
    return this.#backlog === null;
  }

  /** Goes on after a break, under a name perhaps that has only now an inbox. */
  resume(welcome) {
    this.#inbox ??= welcome.inbox;
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
    const start = this.#backlog === null ? { after: this.seq, epoch: this.epoch } : { backlog: this.#backlog };
    return this.#inbox === undefined ? start : { ...start, inbox: this.#inbox };
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
    this.#reached(seq);
    return prev > after ? "hole" : "next";
  }

  /**
   * The same of a private message: of an order of its own, but among the
   * messages of the room it stands in that of the log.
   */
  takePrivate({ seq, prev }) {
    const before = this.#inbox;
    if (seq <= before) return "repeated";
    this.#inbox = seq;
    if (this.#backlog === null) this.seq = Math.max(this.seq, seq);
    return prev > before ? "hole" : "next";
  }

  /** Another name is carried: of its inbox nothing is known yet. */
  renamed() {
    this.#inbox = undefined;
  }

  /** No private message up to `seq` is still to come. */
  #reached(seq) {
    if (this.#inbox < seq) this.#inbox = seq;
  }

  /** Everything up to `seq` was shown or is not for this room. */
  caughtUp(seq) {
    this.#backlog = null;
    this.seq = Math.max(this.seq, seq);
    this.#reached(seq);
  }

  /** The log goes on with `next`, wherever that is. */
  skipTo(next) {
    this.#backlog = null;
    this.seq = next - 1;
  }
}
