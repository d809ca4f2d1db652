// The data this browser keeps: names with their secrets, how far each room was
// read, and messages not stored yet. If the browser allows no storage, the data
// lasts as long as the page. Another chat may stand below another path of the same
// site, so the path is a part of every name.

import { base } from "./dom.mjs";
import { nameKey } from "./text.mjs";

/** Random letters: enough that no other page draws the same. */
export function randomId(letters = 22) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const bytes = crypto.getRandomValues(new Uint8Array(letters));
  return Array.from(bytes, (byte) => alphabet[byte & 63]).join("");
}

/** Small JSON values by name, in one of the browser's storage areas. */
class JsonStorage {
  #store;
  #unstorable = new Map();

  constructor(find) {
    try {
      this.#store = find();
    } catch {
      // The browser allows no storage.
    }
  }

  get(key) {
    if (this.#unstorable.has(key)) return this.#unstorable.get(key);
    try {
      return JSON.parse(this.#store.getItem(base + key)) ?? undefined;
    } catch {
      return undefined;
    }
  }

  set(key, value) {
    try {
      if (value === undefined) this.#store.removeItem(base + key);
      else this.#store.setItem(base + key, JSON.stringify(value));
      this.#unstorable.delete(key);
    } catch {
      this.#unstorable.set(key, value);
    }
  }
}

/** The values that all tabs of this browser share, and those this tab keeps over a reload. */
export const shared = new JsonStorage(() => localStorage);
export const perTab = new JsonStorage(() => sessionStorage);

const NAME = "name";
const SECRET = "secret ";

/** The names of this browser, and the secret of each. */
export const ownedNames = {
  /** The name in use, and its secret. */
  current() {
    const name = shared.get(NAME);
    return name ? { name, secret: shared.get(SECRET + nameKey(name)) } : null;
  },

  /** The secret of a name. A new secret is kept before it is sent. */
  secret(name) {
    const key = SECRET + nameKey(name);
    // The server knows a secret that a program made by this form.
    if (!shared.get(key)) shared.set(key, `random128_${randomId()}`);
    return shared.get(key);
  },

  /** Uses a name from here on, in all tabs. */
  use(name, secret) {
    if (secret) shared.set(SECRET + nameKey(name), secret);
    shared.set(NAME, name);
  },

  /** Calls back when another tab takes a name. */
  onChange(changed) {
    addEventListener("storage", (event) => {
      const current = event.key === base + NAME && ownedNames.current();
      if (current) changed(current);
    });
  },
};

/** How many private messages the next page shows again. */
const MAX_REPEATED = 30;

/** The start of the last private messages of a name: no room's history has them. */
export const inbox = {
  start(name) {
    return name && shared.get(`inbox ${name}`)?.[0];
  },

  /** Records that a private message was delivered; `prev` is the number before it. */
  recordDelivered(name, prev) {
    const starts = shared.get(`inbox ${name}`) ?? [];
    if (!starts.includes(prev)) shared.set(`inbox ${name}`, [...starts, prev].slice(-MAX_REPEATED));
  },
};

/** How long a tab without locks counts as open after its last heartbeat, in milliseconds. */
const ALIVE = 180_000;
const HEARTBEAT = 60_000;
const TAB = "tab ";

/**
 * This tab, the owner of the messages sent in it. It keeps its id when it is
 * reloaded. No other open tab has the same id, not even a duplicate of this tab.
 *
 * Locks show which tabs are open, but need a secure context. Without locks each
 * tab records a heartbeat every `HEARTBEAT` milliseconds.
 */
class Tab {
  id = perTab.get("tab") ?? randomId(12);
  /** The browser made this tab from another one, with its storage. */
  isCopy = false;

  async open() {
    if (!(await this.#claimId())) {
      this.isCopy = true;
      this.id = randomId(12);
      await this.#claimId();
    }
    perTab.set("tab", this.id);
  }

  async #claimId() {
    if (navigator.locks) {
      return new Promise((held) => {
        // The promise never settles: the lock is held until the tab is closed.
        const hold = (lock) => {
          held(Boolean(lock));
          return lock && new Promise(() => {});
        };
        navigator.locks.request(TAB + this.id, { ifAvailable: true }, hold).catch(() => held(true));
      });
    }
    if (this.#isAlive(this.id)) return false;
    const beat = () => shared.set(TAB + this.id, Date.now());
    beat();
    setInterval(beat, HEARTBEAT);
    addEventListener("pageshow", beat);
    addEventListener("pagehide", () => shared.set(TAB + this.id, undefined));
    return true;
  }

  #isAlive(id) {
    const seen = shared.get(TAB + id);
    if (seen === undefined) return false;
    const alive = Math.abs(Date.now() - seen) < ALIVE;
    if (!alive) shared.set(TAB + id, undefined);
    return alive;
  }

  /** Returns a function that says whether the tab with an id is open. */
  async openTabs() {
    if (!navigator.locks) return (id) => this.#isAlive(id);
    const { held } = await navigator.locks.query();
    const open = new Set(held.map((lock) => lock.name));
    return (id) => open.has(TAB + id);
  }
}

/** How long to wait for the browser's database before sending anyway, in milliseconds. */
const DATABASE_WAIT = 1000;

/**
 * The messages of a room that have no receipt yet, kept beyond the page. Each
 * belongs to one tab, so that two tabs never send the same one. The next tab in
 * the same room adopts the messages of a closed tab.
 */
export class KeptOutbox {
  #room;
  #tab = new Tab();
  #db = null;
  #lastOrder = 0;

  constructor(room) {
    this.#room = room;
  }

  /** Whether the messages are kept beyond the page. */
  get isKept() {
    return this.#db !== null;
  }

  /** Whether the browser copied what this tab kept from another tab. */
  get isCopy() {
    return this.#tab.isCopy;
  }

  async open() {
    await this.#tab.open();
    this.#db = await withTimeout(
      new Promise((opened) => {
        const request = indexedDB.open(`broadcast-chat${base}`, 1);
        request.onupgradeneeded = () => request.result.createObjectStore("outbox", { keyPath: "order" });
        request.onsuccess = () => opened(request.result);
        request.onerror = request.onblocked = () => opened(null);
      }),
    );
  }

  #transact(change) {
    if (!this.#db) return Promise.resolve();
    return withTimeout(
      new Promise((done) => {
        const transaction = this.#db.transaction("outbox", "readwrite");
        transaction.oncomplete = transaction.onerror = transaction.onabort = () => done();
        change(transaction.objectStore("outbox"));
      }),
    );
  }

  /** Keeps a message of a speaker before it is sent; returns its order number. */
  async put(command, speaker) {
    this.#lastOrder = Math.max(Date.now() * 1000, this.#lastOrder + 1);
    const order = this.#lastOrder;
    await this.#transact((store) => store.put({ order, tab: this.#tab.id, room: this.#room, speaker, command }));
    return order;
  }

  /** Keeps a message under its new id. */
  renew(order, id) {
    return this.#transact((store) => {
      store.get(order).onsuccess = ({ target: { result: record } }) => {
        if (record) store.put({ ...record, command: { ...record.command, id } });
      };
    });
  }

  /** Removes a message that is stored or never will be. */
  remove(order) {
    return this.#transact((store) => store.delete(order));
  }

  /**
   * Adopts this room's messages of closed tabs, and those this tab kept
   * before a reload, in order and except the `known` ones. Only the speaker of a
   * message may send it again. Also returns how many such messages each other
   * room has, and each other speaker in this room.
   */
  async adopt(known, speaker) {
    const found = [];
    const elsewhere = new Map();
    const others = new Map();
    const count = (counts, key) => counts.set(key, (counts.get(key) ?? 0) + 1);
    const isOpen = await this.#tab.openTabs().catch(() => () => true);
    await this.#transact((store) => {
      store.openCursor().onsuccess = ({ target: { result: cursor } }) => {
        if (!cursor) return;
        const record = cursor.value;
        const own = record.tab === this.#tab.id;
        if (own || !isOpen(record.tab)) {
          if (record.room !== this.#room) {
            count(elsewhere, record.room);
          } else if (record.speaker !== speaker) {
            if (!known(record.order)) count(others, record.speaker);
          } else if (!known(record.order)) {
            found.push(record);
            if (!own) cursor.update({ ...record, tab: this.#tab.id });
          }
        }
        cursor.continue();
      };
    });
    return { found, elsewhere, others };
  }
}

/** The value of a promise, or `null` if it fails or takes longer than `DATABASE_WAIT`. */
function withTimeout(promise) {
  const late = new Promise((ended) => setTimeout(() => ended(null), DATABASE_WAIT));
  return Promise.race([promise.catch(() => null), late]);
}
