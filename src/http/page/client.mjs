// One conversation with a room, across connections. When a connection ends, the
// client makes another, resumes after the last message shown, and sends messages
// without a receipt again.

import { Backoff, isFinal, reconnectDelay } from "./backoff.mjs";
import { Outbox } from "./outbox.mjs";
import { ReadingPosition } from "./position.mjs";
import { nameKey } from "./text.mjs";

const SUBPROTOCOL = "chat.v1";

/** How many messages a newcomer is shown first. */
const BACKLOG = 100;

/** The wait after a temporary refusal that names none, and the bounds of any, in milliseconds. */
const RETRY = 1000;
const SHORTEST_RETRY = 10;
const LONGEST_RETRY = 60_000;

/** How long the server may take to welcome the page, and to answer a probe, in milliseconds. */
const WELCOME_WAIT = 20_000;
const PROBE_WAIT = 10_000;

/** After this silence, in milliseconds, the page probes the server: a page does not see pings. */
const SILENCE = 60_000;

/** A welcomed connection this long, in milliseconds, resets the backoff even without messages. */
const STABLE_AFTER = 15_000;

/** How many bytes may wait in the browser to be sent. */
const MAX_BUFFERED = 1 << 20;

/** The browser's clock and sockets; tests replace them. */
const WORLD = {
  now: () => performance.now(),
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  open: (url, protocols) => new WebSocket(url, protocols),
  /** Asks why a WebSocket was refused, which the browser does not tell: the status and the server's sentence. */
  async why(url, name) {
    const query = new URLSearchParams({ limit: 1, ...(name && { name: name.name }) });
    const headers = { accept: "application/json", ...(name?.secret && { authorization: `Bearer ${name.secret}` }) };
    try {
      const answer = await fetch(`${url.replace(/^ws/, "http")}?${query}`, { headers });
      return { status: answer.status, text: (await answer.text()).trim() };
    } catch {
      return null;
    }
  },
};

/** The statuses with which the server lets nobody in. */
const REFUSED = [401, 403];

/** Why a pass lets nobody in. */
const NO_PASS = "The invitation or link is not valid: it was used, has expired or was taken back.";

export class Client {
  #url;
  #tell;
  #world;
  #socket = null;
  #backoff = new Backoff();
  #outbox = new Outbox();
  #position = null;
  /** It has asked to start over at the end of the log; until then, older events are ignored. */
  #restarting = false;
  /** The connection is welcomed: commands may be sent. */
  #welcomed = false;
  /** The welcome lacked the wanted name: the refusal that says why comes next. */
  #nameMissing = false;
  /** Whether a message was shown or stored on this connection. */
  #progress = false;
  #openedAt = 0;
  /** Questions that wait for their answer, by their ref. */
  #questions = new Map();
  #lastQuestion = 0;
  #alarms = new Map();
  /** The wanted name and its secret. */
  #name;
  /** `invite.TOKEN` or `link.TOKEN`, until the server has answered to it. */
  #pass;
  /** The number after which private messages begin; undefined leaves that to the server. */
  #inbox;

  /**
   * `url` is the room's; `name` is `{ name, secret }` or nothing; `pass` lets the
   * user in: `invite.TOKEN` or `link.TOKEN`. `tell` is called with the server's events, and with `state`,
   * `stored`, `unstored`, `held`, `taken`, `unnamed`, `hole` and `restart`.
   */
  constructor({ url, name, pass, inbox, tell, world = WORLD }) {
    this.#url = url;
    this.#name = name;
    this.#pass = pass;
    this.#inbox = inbox;
    this.#tell = tell;
    this.#world = world;
  }

  /** How many messages have no receipt yet. */
  get unconfirmed() {
    return this.#outbox.unconfirmed;
  }

  get hasRoom() {
    return this.#outbox.hasRoom;
  }

  get isLive() {
    return this.#welcomed && !this.#restarting;
  }

  /** The name that the next message is sent under; `null` for none. */
  get speaker() {
    return this.#outbox.nextName ?? this.#name?.name ?? null;
  }

  /**
   * Sends a message with an id, or a change of name: in order, and again until it
   * is answered. `sent`: an earlier page may have sent it.
   */
  push(command, sent = false) {
    this.#outbox.push(command, sent);
    this.#sendNext();
  }

  /** Sends a message, whose id is `taken`, again under a new id. */
  renew(id, newId) {
    this.#outbox.renew(id, newId);
    this.#sendNext();
  }

  /** Sends a question; resolves to its answer, or fails with a sentence. */
  ask(command) {
    return new Promise((answered, refused) => {
      if (!this.#welcomed) {
        refused(new Error("There is no connection just now."));
        return;
      }
      this.#lastQuestion += 1;
      const ref = `q${this.#lastQuestion}`;
      this.#questions.set(ref, { answered, refused });
      this.#send({ ...command, ref });
    });
  }

  /** Sends a command that has no answer, if there is a connection. */
  say(command) {
    if (this.#welcomed) this.#send(command);
  }

  // --- Connections ---

  /** Connects under a name `{ name, secret }`, with a pass if there is one. */
  enter(name, pass) {
    this.#name = name;
    this.#pass = pass;
    this.connect();
  }

  connect() {
    this.#clearAlarm("retry");
    const start = this.#position ? this.#position.start() : { backlog: BACKLOG };
    if (!this.#position && this.#inbox !== undefined) start.inbox = this.#inbox;
    const query = new URLSearchParams(start);
    const protocols = [SUBPROTOCOL];
    if (this.#pass) protocols.push(this.#pass);
    // A link brings its name.
    if (this.#name && !this.#pass?.startsWith("link.")) {
      query.set("name", this.#name.name);
      if (this.#name.secret) protocols.push(`secret.${base64url(this.#name.secret)}`);
    }
    this.#tell({ type: "state", state: "connecting" });
    const socket = this.#world.open(`${this.#url}?${query}`, protocols);
    this.#socket = socket;
    this.#openedAt = this.#world.now();
    this.#progress = false;
    this.#setAlarm("welcome", WELCOME_WAIT, () => this.#lost("the server does not answer", {}));
    socket.onmessage = ({ data }) => this.#socket === socket && this.#receive(data);
    socket.onclose = (event) => {
      if (this.#socket !== socket) return;
      if (this.#welcomed || event.code !== 1006 || !this.#world.why) this.#lost("", event);
      else this.#askWhy(socket, event);
    };
  }

  /** Asks why the server refused the connection, and goes on accordingly. */
  async #askWhy(socket, event) {
    const told = await this.#world.why(this.#url, this.#name);
    if (this.#socket !== socket) return;
    const isInvited = Boolean(this.#pass);
    // A busy server may take the pass later. If the user may enter without it, only the pass was refused.
    const isDecided = told && (told.status < 400 || REFUSED.includes(told.status));
    if (isDecided) this.#pass = undefined;
    if (!REFUSED.includes(told?.status)) {
      if (isDecided && isInvited) this.#tell({ type: "unnamed", text: NO_PASS });
      this.#lost("", event);
      return;
    }
    this.#drop();
    this.#clearAlarms();
    this.#tell({ type: "state", state: "refused", status: told.status, why: isInvited ? `${NO_PASS} ${told.text}` : told.text });
  }

  /** Connects at once if it was waiting to, or probes the present connection. */
  wake() {
    if (this.#alarms.has("retry")) this.connect();
    else if (this.#welcomed) this.#probe();
  }

  #probe() {
    if (this.#alarms.has("probe")) return;
    this.#setAlarm("probe", PROBE_WAIT, () => this.#lost("the server is silent", {}));
    this.ask({ type: "members" }).catch(() => {});
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#welcomed = false;
    this.#restarting = false;
    this.#nameMissing = false;
    socket?.close();
    for (const { refused } of this.#questions.values()) refused(new Error("The connection was lost."));
    this.#questions.clear();
    this.#outbox.startOver();
  }

  #lost(why, { code, reason }) {
    const isStable = this.#world.now() - this.#openedAt > STABLE_AFTER;
    if (this.#progress || (this.#welcomed && isStable)) this.#backoff.startOver();
    this.#drop();
    this.#clearAlarms();
    // The reason begins with the wait, for the page; the rest is for people.
    const explanation = why || reason?.replace(/^\d+ ms: /, "") || "";
    if (isFinal(code)) {
      this.#tell({ type: "state", state: "ended", why: explanation });
      return;
    }
    this.#connectAfter(reconnectDelay(code, reason) ?? this.#backoff.next(), explanation);
  }

  #connectAfter(ms, why) {
    this.#tell({ type: "state", state: "offline", why, wait: ms });
    this.#setAlarm("retry", ms, () => this.connect());
  }

  #setAlarm(name, ms, then) {
    this.#clearAlarm(name);
    const stop = this.#world.after(ms, () => {
      this.#alarms.delete(name);
      then();
    });
    this.#alarms.set(name, stop);
  }

  #clearAlarm(name) {
    this.#alarms.get(name)?.();
    this.#alarms.delete(name);
  }

  #clearAlarms() {
    for (const alarm of [...this.#alarms.keys()]) this.#clearAlarm(alarm);
  }

  // --- Sending ---

  #send(command) {
    this.#socket.send(JSON.stringify(command));
  }

  /** Sends the commands that may be sent now. */
  #sendNext() {
    while (this.isLive && !this.#nameMissing) {
      if (this.#socket.bufferedAmount > MAX_BUFFERED) {
        this.#setAlarm("drained", 50, () => this.#sendNext());
        return;
      }
      const command = this.#outbox.next();
      if (!command) break;
      this.#send(command);
    }
    const until = this.#outbox.heldUntil;
    if (until !== null && until !== Infinity) {
      this.#setAlarm("held", Math.max(0, until - this.#world.now()), () => {
        this.#outbox.release();
        this.#sendNext();
      });
    }
  }

  // --- Receiving: a method `_type` handles that type; other events are passed on ---

  #receive(data) {
    this.#clearAlarm("probe");
    this.#setAlarm("silence", SILENCE, () => this.#probe());
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return;
    }
    // Unknown types, of later versions, are passed on; the page ignores them.
    const handler = `_${event.type}`;
    if (Object.hasOwn(Client.prototype, handler)) this[handler](event);
    else this.#passOn(event);
    this.#sendNext();
  }

  /** Passes an event on, also to the question it answers. */
  #passOn(event) {
    this.#takeQuestion(event)?.answered(event);
    this.#tell(event);
  }

  /** Removes and returns the question that an event answers. */
  #takeQuestion({ ref }) {
    const question = this.#questions.get(ref);
    this.#questions.delete(ref);
    return question;
  }

  _welcome(welcome) {
    this.#clearAlarm("welcome");
    this.#welcomed = true;
    this.#pass = undefined;
    if (this.#restarting) {
      this.#restarting = false;
      this.#position = this.#position.restart(welcome, BACKLOG);
    } else if (!this.#position?.hasBegun) {
      this.#position = new ReadingPosition(welcome, BACKLOG);
    } else if (!this.#position.canResume(welcome)) {
      const other = welcome.epoch !== this.#position.epoch;
      if (other) this.#position = new ReadingPosition(welcome, BACKLOG);
      this.#restarting = true;
      this.#tell({ type: "restart", other });
      this.#send({ type: "join", room: welcome.room, backlog: BACKLOG });
      return;
    }
    this.#position.resume(welcome);
    this.#nameMissing = Boolean(this.#name) && !welcome.you.name;
    this.#tell(welcome);
    this.#tell({ type: "state", state: "catching up" });
  }

  _live(event) {
    if (this.#restarting) return;
    // No refusal of the name comes after this.
    this.#nameMissing = false;
    this.#position.caughtUp(event.seq);
    this.#tell(event);
    this.#tell({ type: "state", state: "live" });
  }

  _message(message) {
    if (this.#restarting) return;
    const after = this.#position.seq;
    const step = this.#position.take(message);
    if (message.id) this.#confirm(message.id, message.seq);
    if (step === "repeated") return;
    this.#progress = true;
    if (step === "hole") this.#tell({ type: "hole", after, next: message.seq });
    this.#tell(message);
  }

  _changed(change) {
    if (this.#restarting) return;
    const after = this.#position.seq;
    const step = this.#position.take(change);
    if (change.id) this.#confirm(change.id, change.seq);
    if (step === "repeated") return;
    this.#progress = true;
    if (step === "hole") this.#tell({ type: "hole", after, next: change.seq });
    this.#tell(change);
  }

  _erased(event) {
    if (this.#restarting) return;
    if (event.id) this.#confirm(event.id, event.seq);
    // In a replay it has `prev` and stands in its message's place; live it has none.
    if (event.prev !== undefined && this.#position.take(event) === "repeated") return;
    this.#tell(event);
  }

  _gap(event) {
    if (this.#restarting) return;
    this.#position.skipTo(event.next);
    this.#tell(event);
  }

  _private(event) {
    const step = this.#position.takePrivate(event);
    if (event.id) this.#confirm(event.id, event.seq);
    if (step !== "repeated") this.#tell(event);
  }

  _accepted({ id, seq }) {
    this.#confirm(id, seq);
  }

  _name({ name, secret }) {
    const given = this.#outbox.takeNameChange();
    if (!this.#name || nameKey(this.#name.name) !== nameKey(name)) this.#position.renamed();
    this.#name = { name, secret: secret ?? given?.secret ?? this.#name?.secret };
    this.#tell({ type: "name", ...this.#name });
  }

  _refused(refusal) {
    const { id, code, retry_ms: retry } = refusal;
    const forNow = code === "rate" || code === "busy" || retry !== undefined;
    const wait = Math.min(Math.max(retry ?? RETRY, SHORTEST_RETRY), LONGEST_RETRY);
    if (!id) {
      const question = this.#takeQuestion(refusal);
      if (question) {
        question.refused(new Error(refusal.text));
        return;
      }
      if (this.#nameMissing) {
        this.#nameMissing = false;
        // Messages must wait until the server accepts the name.
        if (forNow) {
          this.#drop();
          this.#connectAfter(wait, refusal.text);
          return;
        }
        const text = `It was sent as ${this.#name.name}: perhaps it is stored.`;
        this.#name = null;
        // Under no name it would be stored once more.
        for (const lost of this.#outbox.giveUpSent()) this.#tell({ type: "unstored", id: lost, text });
        this.#tell({ type: "unnamed", text: refusal.text });
        return;
      }
      this.#outbox.takeNameChange();
      this.#tell(refusal);
      return;
    }
    if (forNow) {
      if (this.#outbox.hold(id, this.#world.now() + wait)) {
        this.#tell({ type: "held", text: refusal.text, wait });
      }
      return;
    }
    if (code === "id_taken" && this.#outbox.hold(id, Infinity)) this.#tell({ type: "taken", id });
    else if (this.#outbox.refuse(id)) this.#tell({ type: "unstored", id, text: refusal.text });
  }

  #confirm(id, seq) {
    if (!this.#outbox.confirm(id)) return;
    this.#progress = true;
    this.#tell({ type: "stored", id, seq });
  }
}

/** Encodes a secret for use in a header. */
function base64url(ascii) {
  return btoa(ascii).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
}
