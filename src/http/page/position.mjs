// How far the room has been shown: where to resume, and which messages are
// repeats or missing.

/** A reader further behind than this many numbers starts over at the end of the log. */
const MAX_MISSED = 5000;

/** The reader's place in the room, across connections. */
export class ReadingPosition {
  /** The epoch of the log that the numbers belong to. */
  epoch;
  /** The last number shown. */
  seq;
  /** The number up to which private messages were delivered; undefined without a name. */
  #inbox;
  /** The size of the requested backlog, until any of it is shown; then null. */
  #backlog;

  /** Begins at a welcome, with the last `backlog` messages of its room still to come. */
  constructor(welcome, backlog, inbox = welcome.inbox) {
    this.epoch = welcome.epoch;
    this.seq = welcome.head;
    this.#inbox = inbox;
    this.#backlog = backlog;
  }

  /** A position that starts over at the end of the log; only private messages continue. */
  restart(welcome, backlog) {
    return new ReadingPosition(welcome, backlog, this.#inbox);
  }

  /** Whether anything was shown, or nothing had to be. */
  get hasBegun() {
    return this.#backlog === null;
  }

  /** Continues on a new connection. The name may have an inbox for the first time. */
  resume(welcome) {
    if (welcome.epoch !== this.epoch) {
      this.epoch = welcome.epoch;
      this.#inbox = welcome.inbox;
    }
    this.#inbox ??= welcome.inbox;
  }

  /**
   * Whether reading can continue after this welcome. It cannot in another log that does
   * not have `seq`, in a log that ends before it, or after `MAX_MISSED` missed numbers.
   */
  canResume(welcome) {
    const continues = welcome.epoch === this.epoch || welcome.after === this.seq;
    return continues && welcome.head - this.seq <= MAX_MISSED && welcome.head >= this.seq;
  }

  /** The parameters of a connection that continues from here. */
  start() {
    const start = this.#backlog === null ? { after: this.seq, epoch: this.epoch } : { backlog: this.#backlog };
    return this.#inbox === undefined ? start : { ...start, inbox: this.#inbox };
  }

  /**
   * Records a message and returns how it follows the last one: "next",
   * "repeated", or "hole" if a message between is missing without a reason given.
   */
  take({ seq, prev }) {
    const after = this.seq;
    const first = this.#backlog !== null;
    if (!first && seq <= after) return "repeated";
    this.#backlog = null;
    this.seq = seq;
    this.#raiseInbox(seq);
    return prev > after ? "hole" : "next";
  }

  /**
   * The same for a private message. Its `prev` counts private messages only, but
   * among the messages of the room it stands in the order of the log.
   */
  takePrivate({ seq, prev }) {
    const before = this.#inbox;
    if (seq <= before) return "repeated";
    this.#inbox = seq;
    if (this.#backlog === null) this.seq = Math.max(this.seq, seq);
    return prev > before ? "hole" : "next";
  }

  /** The connection has another name, whose inbox is not known yet. */
  renamed() {
    this.#inbox = undefined;
  }

  /** Raises the inbox to `seq`: no private message up to it is still to come. */
  #raiseInbox(seq) {
    if (this.#inbox < seq) this.#inbox = seq;
  }

  /** Every message of this room up to `seq` was shown. */
  caughtUp(seq) {
    this.#backlog = null;
    this.seq = Math.max(this.seq, seq);
    this.#raiseInbox(seq);
  }

  /** Continues at `next`, before or after the last number. */
  skipTo(next) {
    this.#backlog = null;
    this.seq = next - 1;
  }
}
