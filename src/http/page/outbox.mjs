// The messages without a receipt, in order. They are sent again after a lost
// connection or a temporary refusal.

/** The most commands kept, and the most letters of their text. */
const MAX_COMMANDS = 1000;
const MAX_TEXT = 4 << 20;

/**
 * The commands in the order they were given, with the state of each.
 *
 * A message leaves the outbox with its receipt or its final refusal. A change of
 * name waits until all messages before it are done, and delays all after it. So
 * a message that is sent again keeps the name it was written under.
 */
export class Outbox {
  /** The queued commands by rising number: `{ command, inFlight, sent }`. */
  #queue = new Map();
  /** The numbers of the messages, by id. */
  #ids = new Map();
  #text = 0;
  /** The highest number given so far. */
  #lastNumber = 0;
  /** The highest number handed over on this connection. */
  #lastHanded = 0;
  #inFlight = 0;
  /** How many may be in flight: one after a refusal, and one more with each receipt. */
  #allowed = MAX_COMMANDS;
  /** The number of the change of name in flight. */
  #nameInFlight = null;
  /** The id of the message handed over last: the next one follows it. */
  #lastHandedId = null;
  /** A temporary refusal: the first number refused, and when to send it again. */
  #hold = null;

  /** How many messages have neither been stored nor refused. */
  get unconfirmed() {
    return this.#ids.size;
  }

  /** Whether another command may be pushed. */
  get hasRoom() {
    return this.#queue.size < MAX_COMMANDS && this.#text < MAX_TEXT;
  }

  /** Takes a message with an id, or a change of name; `sent`: an earlier page may have sent it. */
  push(command, sent = false) {
    if (this.#ids.has(command.id)) return;
    this.#lastNumber += 1;
    this.#queue.set(this.#lastNumber, { command, inFlight: false, sent });
    if (command.id) {
      this.#ids.set(command.id, this.#lastNumber);
      this.#text += command.text.length;
    }
  }

  #remove(number) {
    const { command, inFlight } = this.#queue.get(number);
    this.#queue.delete(number);
    if (inFlight) this.#inFlight -= 1;
    if (command.id) {
      this.#ids.delete(command.id);
      this.#text -= command.text.length;
    }
  }

  /** Takes the next command to send; `null` if none may be sent now. */
  next() {
    if (this.#hold || this.#nameInFlight || this.#inFlight >= this.#allowed) return null;
    let first = true;
    for (const [number, queued] of this.#queue) {
      if (number <= this.#lastHanded) {
        first = false;
        continue;
      }
      if (!queued.command.id) {
        if (!first) return null;
        this.#nameInFlight = number;
        this.#lastHanded = number;
        return queued.command;
      }
      this.#lastHanded = number;
      this.#inFlight += 1;
      queued.inFlight = true;
      queued.sent = true;
      const follows = this.#lastHandedId ? { follows: this.#lastHandedId } : {};
      this.#lastHandedId = queued.command.id;
      return { ...queued.command, ...follows };
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
    this.#allowed = Math.min(MAX_COMMANDS, this.#allowed + 1);
    return true;
  }

  /** Removes a message that will never be stored; returns whether it was in flight. */
  refuse(id) {
    const number = this.#ids.get(id);
    if (number === undefined || !this.#queue.get(number).inFlight) return false;
    this.#remove(number);
    return true;
  }

  /**
   * Holds back a message that was refused for now; returns whether it was in
   * flight. It is handed over again, and those after it follow. Others in flight
   * may still be stored: nothing new is sent before they are answered. With
   * `Infinity`, the message waits for `renew`.
   */
  hold(id, until) {
    const number = this.#ids.get(id);
    const queued = this.#queue.get(number);
    if (!queued?.inFlight) return false;
    queued.inFlight = false;
    this.#inFlight -= 1;
    this.#allowed = 1;
    const { first = number, until: told = 0, renewing = 0 } = this.#hold ?? {};
    const waits = until === Infinity;
    this.#hold = {
      first: Math.min(first, number),
      until: waits ? told : Math.max(told, until),
      renewing: renewing + (waits ? 1 : 0),
    };
    return true;
  }

  /**
   * Gives a message in flight or held back a new id: another message has its id.
   * It is handed over again, and those after it follow.
   */
  renew(id, newId) {
    const number = this.#ids.get(id);
    if (number === undefined) return;
    this.hold(id, 0);
    const queued = this.#queue.get(number);
    queued.command = { ...queued.command, id: newId };
    this.#ids.delete(id);
    this.#ids.set(newId, number);
    if (this.#hold?.renewing) this.#hold.renewing -= 1;
  }

  /** Removes the messages that were sent and have no receipt; returns their ids. */
  giveUpSent() {
    const numbers = [...this.#ids].filter(([, number]) => this.#queue.get(number).sent);
    for (const [, number] of numbers) this.#remove(number);
    return numbers.map(([id]) => id);
  }

  /** The name of the last change that waits; `undefined` if none does. */
  get nextName() {
    return [...this.#queue.values()].findLast(({ command }) => command.type === "name")?.command.name;
  }

  /** When refused messages may be sent again; `null` while answers are still to come. */
  get heldUntil() {
    if (!this.#hold || this.#inFlight > 0) return null;
    return this.#hold.renewing ? Infinity : this.#hold.until;
  }

  /** Lets refused messages be sent again. */
  release() {
    if (!this.#hold) return;
    this.#lastHanded = this.#hold.first - 1;
    this.#lastHandedId = null;
    this.#hold = null;
  }

  /** Removes and returns the change of name in flight: it is made or refused. */
  takeNameChange() {
    if (!this.#nameInFlight) return null;
    const { command } = this.#queue.get(this.#nameInFlight);
    this.#remove(this.#nameInFlight);
    this.#nameInFlight = null;
    return command;
  }

  /** Hands over everything again, on a new connection. */
  startOver() {
    for (const queued of this.#queue.values()) queued.inFlight = false;
    this.#inFlight = 0;
    this.#lastHanded = 0;
    this.#nameInFlight = null;
    this.#lastHandedId = null;
    this.#hold = null;
  }
}
