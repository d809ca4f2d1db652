// The data this browser keeps: names with their secrets, how far each room was
// read, and messages not stored yet. If the browser allows no storage, the data
// lasts as long as the page.

import { nameKey } from "./text.mjs";

/** Random letters: enough that no other page draws the same. */
export function randomId(letters = 22) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const bytes = crypto.getRandomValues(new Uint8Array(letters));
  return Array.from(bytes, (byte) => alphabet[byte & 63]).join("");
}

/** Small JSON values by name, in one of the browser's storage areas. */
class Notes {
  #store;
  #own = new Map();

  constructor(find) {
    try {
      this.#store = find();
    } catch {
      // The browser allows no storage.
    }
  }

  get(key) {
    if (this.#own.has(key)) return this.#own.get(key);
    try {
      return JSON.parse(this.#store.getItem(key)) ?? undefined;
    } catch {
      return undefined;
    }
  }

  set(key, value) {
    try {
      if (value === undefined) this.#store.removeItem(key);
      else this.#store.setItem(key, JSON.stringify(value));
      this.#own.delete(key);
    } catch {
      this.#own.set(key, value);
    }
  }
}

/** The values that all tabs of this browser share, and those this tab keeps over a reload. */
export const ours = new Notes(() => localStorage);
export const mine = new Notes(() => sessionStorage);

const NAME = "name";
const SECRET = "secret ";

/** The names of this browser, and the secret of each. */
export const names = {
  /** The name in use, and its secret. */
  current() {
    const name = ours.get(NAME);
    return name ? { name, secret: ours.get(SECRET + nameKey(name)) } : null;
  },

  /** The secret of a name. A new secret is kept before it is sent. */
  secret(name) {
    const key = SECRET + nameKey(name);
    if (!ours.get(key)) ours.set(key, randomId());
    return ours.get(key);
  },

  /** Uses a name from here on, in all tabs. */
  carry(name, secret) {
    if (secret) ours.set(SECRET + nameKey(name), secret);
    ours.set(NAME, name);
  },

  /** Calls back when another tab takes a name. */
  onChange(told) {
    addEventListener("storage", (event) => {
      const current = event.key === NAME && names.current();
      if (current) told(current);
    });
  },
};

/** How many private messages the next page shows again. */
const AGAIN = 30;

/** The start of the last private messages of a name: no room's history has them. */
export const inbox = {
  begin(name) {
    return name && ours.get(`inbox ${name}`)?.[0];
  },

  /** Records that a private message was shown; `prev` is the number before it. */
  note(name, prev) {
    const shown = ours.get(`inbox ${name}`) ?? [];
    if (!shown.includes(prev)) ours.set(`inbox ${name}`, [...shown, prev].slice(-AGAIN));
  },
};

/** How long a tab without locks counts as open after its last heartbeat, in milliseconds. */
const ALIVE = 180_000;
const BEAT = 60_000;
const TAB = "tab ";

/**
 * This tab, the owner of the messages sent in it. It keeps its id when it is
 * reloaded. No other open tab has the same id, not even a duplicate of this tab.
 *
 * Locks show which tabs are open, but need a secure context. Without locks each
 * tab records a heartbeat every `BEAT` milliseconds.
 */
class Tab {
  id = mine.get("tab") ?? randomId(12);

  async open() {
    if (!(await this.#hold())) {
      this.id = randomId(12);
      await this.#hold();
    }
    mine.set("tab", this.id);
  }

  async #hold() {
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
    const beat = () => ours.set(TAB + this.id, Date.now());
    beat();
    setInterval(beat, BEAT);
    addEventListener("pageshow", beat);
    addEventListener("pagehide", () => ours.set(TAB + this.id, undefined));
    return true;
  }

  #isAlive(id) {
    const seen = ours.get(TAB + id);
    if (seen === undefined) return false;
    const alive = Math.abs(Date.now() - seen) < ALIVE;
    if (!alive) ours.set(TAB + id, undefined);
    return alive;
  }

  /** Returns a function that says whether the tab with an id is open. */
  async others() {
    if (!navigator.locks) return (id) => this.#isAlive(id);
    const { held } = await navigator.locks.query();
    const open = new Set(held.map((lock) => lock.name));
    return (id) => open.has(TAB + id);
  }
}

/** How long to wait for the browser's database before sending anyway, in milliseconds. */
const PATIENCE = 1000;

/**
 * The messages of a room that have no receipt yet, kept beyond the page. Each
 * belongs to one tab, so that two tabs never send the same one. The next tab in
 * the same room takes over the messages of a closed tab.
 */
export class Shelf {
  #room;
  #tab = new Tab();
  #db = null;
  #last = 0;

  constructor(room) {
    this.#room = room;
  }

  /** Whether the messages are kept beyond the page. */
  get isKept() {
    return this.#db !== null;
  }

  async open() {
    await this.#tab.open();
    this.#db = await within(
      new Promise((opened) => {
        const asked = indexedDB.open("broadcast-chat", 1);
        asked.onupgradeneeded = () => asked.result.createObjectStore("outbox", { keyPath: "order" });
        asked.onsuccess = () => opened(asked.result);
        asked.onerror = asked.onblocked = () => opened(null);
      }),
    );
  }

  #work(change) {
    if (!this.#db) return Promise.resolve();
    return within(
      new Promise((done) => {
        const work = this.#db.transaction("outbox", "readwrite");
        work.oncomplete = work.onerror = work.onabort = () => done();
        change(work.objectStore("outbox"));
      }),
    );
  }

  /** Keeps a message before it is sent; returns its order number. */
  async put(command) {
    this.#last = Math.max(Date.now() * 1000, this.#last + 1);
    const order = this.#last;
    await this.#work((store) => store.put({ order, tab: this.#tab.id, room: this.#room, command }));
    return order;
  }

  /** Removes a message that is stored or never will be. */
  remove(order) {
    return this.#work((store) => store.delete(order));
  }

  /**
   * Takes over this room's messages of closed tabs, and those this tab kept
   * before a reload, in order and except the `known` ones. Also returns how many
   * such messages each other room has.
   */
  async take(known) {
    const found = [];
    const elsewhere = new Map();
    const isOpen = await this.#tab.others().catch(() => () => true);
    await this.#work((store) => {
      store.openCursor().onsuccess = ({ target: { result: cursor } }) => {
        if (!cursor) return;
        const entry = cursor.value;
        const own = entry.tab === this.#tab.id;
        if (own || !isOpen(entry.tab)) {
          if (entry.room !== this.#room) {
            elsewhere.set(entry.room, (elsewhere.get(entry.room) ?? 0) + 1);
          } else if (!known(entry.order)) {
            found.push(entry);
            if (!own) cursor.update({ ...entry, tab: this.#tab.id });
          }
        }
        cursor.continue();
      };
    });
    return { found, elsewhere };
  }
}

/** The value of a promise, or `null` if it fails or takes longer than `PATIENCE`. */
function within(promise) {
  const late = new Promise((ended) => setTimeout(() => ended(null), PATIENCE));
  return Promise.race([promise.catch(() => null), late]);
}
