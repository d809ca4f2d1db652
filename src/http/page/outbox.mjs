// The messages without a receipt, in order. They are sent again after a lost
// connection or a temporary refusal.

/** The most commands kept, and the most letters of their text. */
const MOST = 1000;
const MOST_TEXT = 4 << 20;

/**
 * The commands in the order they were given, with the state of each.
 *
 * A message leaves the outbox with its receipt or its final refusal. A change of
 * name waits until all messages before it are done, and delays all after it. So
 * a message that is sent again keeps the name it was written under.
 */
export class Outbox {
  /** The entries by rising number: `{ command, inFlight }`. */
  #entries = new Map();
  /** The numbers of the messages, by id. */
  #ids = new Map();
  #text = 0;
  /** The highest number given so far. */
  #newest = 0;
  /** The highest number handed over on this connection. */
  #handed = 0;
  #inFlight = 0;
  /** How many may be in flight: one after a refusal, and one more with each receipt. */
  #allowed = MOST;
  /** The number of the change of name in flight. */
  #changing = null;
  /** The id of the message handed over last: the next one follows it. */
  #before = null;
  /** A temporary refusal: the first number refused, and when to send it again. */
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

  /** Takes the next command to send; `null` if none may be sent now. */
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
   * Removes a message that is stored; returns whether it was here. The receipt
   * may come before the message is handed over again.
   */
  confirm(id) {
    const number = this.#ids.get(id);
    if (number === undefined) return false;
    this.#remove(number);
    this.#allowed = Math.min(MOST, this.#allowed + 1);
    return true;
  }

  /** Removes a message that will never be stored; returns whether it was in flight. */
  refuse(id) {
    const number = this.#ids.get(id);
    if (number === undefined || !this.#entries.get(number).inFlight) return false;
    this.#remove(number);
    return true;
  }

  /**
   * Holds back a message that was refused for now; returns whether it was in
   * flight. It is handed over again, and those after it follow. Others in flight
   * may still be stored: nothing new is sent before they are answered.
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

  /** When refused messages may be sent again; `null` while answers are still to come. */
  get heldUntil() {
    return this.#hold && this.#inFlight === 0 ? this.#hold.until : null;
  }

  /** Lets refused messages be sent again. */
  release() {
    if (!this.#hold) return;
    this.#handed = this.#hold.first - 1;
    this.#before = null;
    this.#hold = null;
  }

  /** Removes and returns the change of name in flight: it is made or refused. */
  changed() {
    if (!this.#changing) return null;
    const { command } = this.#entries.get(this.#changing);
    this.#remove(this.#changing);
    this.#changing = null;
    return command;
  }

  /** Hands over everything again, on a new connection. */
  startOver() {
    for (const entry of this.#entries.values()) entry.inFlight = false;
    this.#inFlight = 0;
    this.#handed = 0;
    this.#changing = null;
    this.#before = null;
    this.#hold = null;
  }
}
