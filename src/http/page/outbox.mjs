// What was said and is not known to be stored: in order until its receipt
// comes, and said again after a break or a refusal for now.

/** How many are kept, and in how many letters of text. */
const MOST = 1000;
const MOST_TEXT = 4 << 20;

/**
 * Commands in the order they were given, with what has become of each.
 *
 * A message leaves on its receipt or when it is refused for good. A change of
 * name waits until all before it are stored, and holds up all behind it: what is
 * said again, is said under the name it was said for.
 */
export class Outbox {
  /** By number, rising: `{ command, inFlight }`. */
  #entries = new Map();
  /** Numbers of the messages, by id. */
  #ids = new Map();
  #text = 0;
  /** The number of the newest entry, ever. */
  #newest = 0;
  /** Up to this number, entries were handed over on this connection. */
  #handed = 0;
  #inFlight = 0;
  /** How many may be in flight: after a refusal one, and one more with each receipt. */
  #allowed = MOST;
  /** The change of name under way. */
  #changing = null;
  /** The message handed over before: the next one follows it. */
  #before = null;
  /** A refusal for now: the first number refused, and until when. */
  #hold = null;

  /** How many messages have neither been stored nor refused. */
  get unconfirmed() {
    return this.#ids.size;
  }

  /** Whether another command may be pushed. */
  get hasRoom() {
    return this.#entries.size < MOST && this.#text < MOST_TEXT;
  }

  /** Takes a message with an id, or a change of name. */
  push(command) {
    if (this.#ids.has(command.id)) return;
    this.#newest += 1;
    this.#entries.set(this.#newest, { command, inFlight: false });
    if (command.id) {
      this.#ids.set(command.id, this.#newest);
      this.#text += command.text.length;
    }
  }

  #remove(number) {
    const { command, inFlight } = this.#entries.get(number);
    this.#entries.delete(number);
    if (inFlight) this.#inFlight -= 1;
    if (command.id) {
      this.#ids.delete(command.id);
      this.#text -= command.text.length;
    }
  }

  /** The next command to be handed over, if any may be now. */
  next() {
    if (this.#hold || this.#changing || this.#inFlight >= this.#allowed) return null;
    let first = true;
    for (const [number, entry] of this.#entries) {
      if (number <= this.#handed) {
        first = false;
        continue;
      }
      if (!entry.command.id) {
        if (!first) return null;
        this.#changing = number;
        this.#handed = number;
        return entry.command;
      }
      this.#handed = number;
      this.#inFlight += 1;
      entry.inFlight = true;
      const follows = this.#before ? { follows: this.#before } : {};
      this.#before = entry.command.id;
      return { ...entry.command, ...follows };
    }
    return null;
  }

  /**
   * Whether it was a message that waited for this: it is stored. That may be
   * heard before it is handed over again.
   */
  confirm(id) {
    const number = this.#ids.get(id);
    if (number === undefined) return false;
    this.#remove(number);
    this.#allowed = Math.min(MOST, this.#allowed + 1);
    return true;
  }

  /** Whether it was a message in flight: it will never be stored. */
  refuse(id) {
    const number = this.#ids.get(id);
    if (number === undefined || !this.#entries.get(number).inFlight) return false;
    this.#remove(number);
    return true;
  }

  /**
   * Whether it was a message in flight: it is to be handed over again, and those
   * behind it after it. Those in flight may still be stored; nothing new goes
   * out before that is known.
   */
  hold(id, until) {
    const number = this.#ids.get(id);
    const entry = this.#entries.get(number);
    if (!entry?.inFlight) return false;
    entry.inFlight = false;
    this.#inFlight -= 1;
    this.#allowed = 1;
    this.#hold = {
      first: Math.min(this.#hold?.first ?? number, number),
      until: Math.max(this.#hold?.until ?? until, until),
    };
    return true;
  }

  /** When what was refused may go out again, unless answers are still to come. */
  get heldUntil() {
    return this.#hold && this.#inFlight === 0 ? this.#hold.until : null;
  }

  /** That time has come. */
  release() {
    if (!this.#hold) return;
    this.#handed = this.#hold.first - 1;
    this.#before = null;
    this.#hold = null;
  }

  /** The change of name that was handed over is made, or refused: which it was. */
  changed() {
    if (!this.#changing) return null;
    const { command } = this.#entries.get(this.#changing);
    this.#remove(this.#changing);
    this.#changing = null;
    return command;
  }

  /** On a new connection everything is handed over again. */
  startOver() {
    for (const entry of this.#entries.values()) entry.inFlight = false;
    this.#inFlight = 0;
    this.#handed = 0;
    this.#changing = null;
    this.#before = null;
    this.#hold = null;
  }
}
