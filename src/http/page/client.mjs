// One conversation with a room, which outlives its connections: when one ends it
// makes another, resumes after the last message shown, and says again what is
// not known to be stored.

import { Backoff, askedWait, isFinal } from "./backoff.mjs";
import { Outbox } from "./outbox.mjs";
import { Reading } from "./position.mjs";
import { nameKey } from "./text.mjs";

const SUBPROTOCOL = "chat.v1";

/** How many messages a newcomer is shown first. */
const BACKLOG = 100;

/** How long to wait when a refusal for now does not say, and its bounds. */
const RETRY = 1000;
const SHORTEST_RETRY = 10;
const LONGEST_RETRY = 60_000;

/** How long a server may take to let one in, and to answer when asked whether it is there. */
const ARRIVAL = 20_000;
const ANSWER = 10_000;

/** After this silence it is asked: a page is not told of pings. */
const SILENCE = 60_000;

/** After this time a connection was one, whatever came of it. */
const LASTED = 15_000;

/** How much may wait in the browser to be sent. */
const UNSENT = 1 << 20;

/** The real time, and a socket of the browser's. */
const WORLD = {
  now: () => performance.now(),
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  open: (url, protocols) => new WebSocket(url, protocols),
};

export class Client {
  #url;
  #tell;
  #world;
  #socket = null;
  #backoff = new Backoff();
  #outbox = new Outbox();
  #reading = null;
  /** It asked to start over at the end of the log, and is told of what was before. */
  #anew = false;
  /** Welcomed, and everything before is settled: messages may go out. */
  #open = false;
  /** It was not welcomed under its name: why not is told next. */
  #unnamed = false;
  /** On this connection something was shown or stored. */
  #progress = false;
  #opened = 0;
  #heard = 0;
  /** Questions that wait for their answer, by their ref. */
  #asked = new Map();
  #questions = 0;
  #alarms = new Map();
  /** The name it wants to carry and its secret. */
  #name;
  /** The number after which private messages are to begin, if not where the server says. */
  #inbox;

  /**
   * `url` is the room's; `name` is `{ name, secret }` or nothing; `tell` hears of
   * everything that happens: the server's events, and `state`, `stored`,
   * `unstored`, `hole` and `anew`.
   */
  constructor({ url, name, inbox, tell, world = WORLD }) {
    this.#url = url;
    this.#name = name;
    this.#inbox = inbox;
    this.#tell = tell;
    this.#world = world;
  }

  /** How many messages are not known to be stored. */
  get unsent() {
    return this.#outbox.unconfirmed;
  }

  get hasRoom() {
    return this.#outbox.hasRoom;
  }

  get isLive() {
    return this.#open && !this.#anew;
  }

  /** Says something under an id, or takes a name: in order, and as often as it takes. */
  push(command) {
    this.#outbox.push(command);
    this.#hand();
  }

  /** Asks the server something: its answer, or an error with a sentence. */
  ask(command) {
    return new Promise((answered, refused) => {
      if (!this.#open) {
        refused(new Error("There is no connection just now."));
        return;
      }
      this.#questions += 1;
      const ref = `q${this.#questions}`;
      this.#asked.set(ref, { answered, refused });
      this.#send({ ...command, ref });
    });
  }

  // --- Connections ---

  connect() {
    this.#clear("retry");
    const start = this.#reading ? this.#reading.start() : { backlog: BACKLOG };
    if (!this.#reading && this.#inbox !== undefined) start.inbox = this.#inbox;
    const query = new URLSearchParams(start);
    const protocols = [SUBPROTOCOL];
    if (this.#name) {
      query.set("name", this.#name.name);
      if (this.#name.secret) protocols.push(`secret.${base64url(this.#name.secret)}`);
    }
    this.#tell({ type: "state", state: "connecting" });
    const socket = this.#world.open(`${this.#url}?${query}`, protocols);
    this.#socket = socket;
    this.#opened = this.#world.now();
    this.#progress = false;
    this.#set("arrival", ARRIVAL, () => this.#lost("the server does not answer", {}));
    socket.onmessage = ({ data }) => this.#socket === socket && this.#take(data);
    socket.onclose = (event) => this.#socket === socket && this.#lost("", event);
  }

  /** Tries at once what would be tried later, and doubts what seems to be there. */
  wake() {
    if (this.#alarms.has("retry")) this.connect();
    else if (this.#open) this.#probe();
  }

  #probe() {
    if (this.#alarms.has("answer")) return;
    this.#set("answer", ANSWER, () => this.#lost("the server is silent", {}));
    this.ask({ type: "members" }).catch(() => {});
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#open = false;
    this.#anew = false;
    this.#unnamed = false;
    socket?.close();
    for (const { refused } of this.#asked.values()) refused(new Error("The connection was lost."));
    this.#asked.clear();
    this.#outbox.startOver();
  }

  #lost(why, { code, reason }) {
    const lasted = this.#world.now() - this.#opened > LASTED;
    if (this.#progress || (this.#open && lasted)) this.#backoff.startOver();
    this.#drop();
    for (const alarm of [...this.#alarms.keys()]) this.#clear(alarm);
    // The wait is for the page, the rest is for people.
    const said = why || reason?.replace(/^\d+ ms: /, "") || "";
    if (isFinal(code)) {
      this.#tell({ type: "state", state: "ended", why: said });
      return;
    }
    this.#wait(askedWait(code, reason) ?? this.#backoff.next(), said);
  }

  #wait(ms, why) {
    this.#tell({ type: "state", state: "offline", why, wait: ms });
    this.#set("retry", ms, () => this.connect());
  }

  #set(name, ms, then) {
    this.#clear(name);
    const stop = this.#world.after(ms, () => {
      this.#alarms.delete(name);
      then();
    });
    this.#alarms.set(name, stop);
  }

  #clear(name) {
    this.#alarms.get(name)?.();
    this.#alarms.delete(name);
  }

  // --- What goes out ---

  #send(command) {
    this.#socket.send(JSON.stringify(command));
  }

  /** Hands over what may go out now. */
  #hand() {
    while (this.isLive && !this.#unnamed) {
      if (this.#socket.bufferedAmount > UNSENT) {
        this.#set("drained", 50, () => this.#hand());
        return;
      }
      const command = this.#outbox.next();
      if (!command) break;
      this.#send(command);
    }
    const until = this.#outbox.heldUntil;
    if (until !== null) {
      this.#set("held", Math.max(0, until - this.#world.now()), () => {
        this.#outbox.release();
        this.#hand();
      });
    }
  }

  // --- What comes in: what is not told as it is has a method of its type ---

  #take(data) {
    this.#clear("answer");
    this.#set("silence", SILENCE, () => this.#probe());
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return;
    }
    // What this version does not know is for later ones.
    const take = `_${event.type}`;
    if (Object.hasOwn(Client.prototype, take)) this[take](event);
    else this.#pass(event);
    this.#hand();
  }

  /** Tells of an event that may be an answer. */
  #pass(event) {
    this.#question(event)?.answered(event);
    this.#tell(event);
  }

  /** The question that an event answers, which waits no more. */
  #question({ ref }) {
    const asked = this.#asked.get(ref);
    this.#asked.delete(ref);
    return asked;
  }

  _welcome(welcome) {
    this.#clear("arrival");
    this.#open = true;
    if (this.#anew) {
      this.#anew = false;
      this.#reading = this.#reading.anew(welcome, BACKLOG);
    } else if (!this.#reading?.hasBegun) {
      this.#reading = new Reading(welcome, BACKLOG);
    } else if (!this.#reading.goesOn(welcome)) {
      const other = welcome.epoch !== this.#reading.epoch;
      if (other) this.#reading = new Reading(welcome, BACKLOG);
      this.#anew = true;
      this.#tell({ type: "anew", other });
      this.#send({ type: "join", room: welcome.room, backlog: BACKLOG });
      return;
    }
    this.#reading.resume(welcome);
    this.#unnamed = Boolean(this.#name) && !welcome.you.name;
    this.#tell(welcome);
    this.#tell({ type: "state", state: "catching up" });
  }

  _live(event) {
    if (this.#anew) return;
    // Then nothing is told of its name any more.
    this.#unnamed = false;
    this.#reading.caughtUp(event.seq);
    this.#tell(event);
    this.#tell({ type: "state", state: "live" });
  }

  _message(message) {
    if (this.#anew) return;
    const after = this.#reading.seq;
    const step = this.#reading.take(message);
    if (message.id) this.#confirm(message.id, message.seq);
    if (step === "repeated") return;
    this.#progress = true;
    if (step === "hole") this.#tell({ type: "hole", after, next: message.seq });
    this.#tell(message);
  }

  _erased(event) {
    if (this.#anew) return;
    if (event.id) this.#confirm(event.id, event.seq);
    // In the replay it stands in its message's place; live it says which.
    if (event.prev !== undefined && this.#reading.take(event) === "repeated") return;
    this.#tell(event);
  }

  _gap(event) {
    if (this.#anew) return;
    this.#reading.skipTo(event.next);
    this.#tell(event);
  }

  _private(event) {
    const step = this.#reading.takePrivate(event);
    if (event.id) this.#confirm(event.id, event.seq);
    if (step !== "repeated") this.#tell(event);
  }

  _accepted({ id, seq }) {
    this.#confirm(id, seq);
  }

  _name({ name, secret }) {
    const given = this.#outbox.changed();
    if (!this.#name || nameKey(this.#name.name) !== nameKey(name)) this.#reading.renamed();
    this.#name = { name, secret: secret ?? given?.secret ?? this.#name?.secret };
    this.#tell({ type: "name", ...this.#name });
  }

  _refused(refusal) {
    const { id, code, retry_ms: retry } = refusal;
    const forNow = code === "rate" || code === "busy" || retry !== undefined;
    const wait = Math.min(Math.max(retry ?? RETRY, SHORTEST_RETRY), LONGEST_RETRY);
    if (!id) {
      const asked = this.#question(refusal);
      if (asked) {
        asked.refused(new Error(refusal.text));
        return;
      }
      if (this.#unnamed) {
        this.#unnamed = false;
        // What is said is to be said under it.
        if (forNow) {
          this.#drop();
          this.#wait(wait, refusal.text);
          return;
        }
        this.#name = null;
        this.#tell({ type: "unnamed", text: refusal.text });
        return;
      }
      this.#outbox.changed();
      this.#tell(refusal);
      return;
    }
    if (forNow) {
      if (this.#outbox.hold(id, this.#world.now() + wait)) {
        this.#tell({ type: "held", text: refusal.text, wait });
      }
      return;
    }
    if (this.#outbox.refuse(id)) this.#tell({ type: "unstored", id, text: refusal.text });
  }

  #confirm(id, seq) {
    if (!this.#outbox.confirm(id)) return;
    this.#progress = true;
    this.#tell({ type: "stored", id, seq });
  }
}

/** A secret as a part of a header may have it. */
function base64url(ascii) {
  return btoa(ascii).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
}
