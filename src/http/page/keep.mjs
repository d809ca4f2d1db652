// What this browser keeps: names with their secrets, how far each room was read,
// and what was said and not yet stored. Where it may keep nothing, everything
// lives as long as the page.

import { nameKey } from "./text.mjs";

/** Random letters that no other page has. */
export function randomId(letters = 22) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const bytes = crypto.getRandomValues(new Uint8Array(letters));
  return Array.from(bytes, (byte) => alphabet[byte & 63]).join("");
}

/** Small things by name, as JSON, in one of the browser's stores. */
class Notes {
  #store;
  #own = new Map();

  constructor(find) {
    try {
      this.#store = find();
    } catch {
      // The browser is told to keep nothing.
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

/** What all tabs of this browser know, and what this tab knows after a reload. */
export const ours = new Notes(() => localStorage);
export const mine = new Notes(() => sessionStorage);

const NAME = "name";
const SECRET = "secret ";

/** The names of this browser, and what proves each. */
export const names = {
  /** The name it carries, and its secret. */
  current() {
    const name = ours.get(NAME);
    return name ? { name, secret: ours.get(SECRET + nameKey(name)) } : null;
  },

  /** The secret of a name; made, and kept, before anybody is told it. */
  secret(name) {
    const key = SECRET + nameKey(name);
    if (!ours.get(key)) ours.set(key, randomId());
    return ours.get(key);
  },

  /** It carries a name from here on, in all its tabs. */
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

/** How many private messages are shown again by the next page. */
const AGAIN = 30;

/** Where the last private messages of a name begin, which are in no room's history. */
export const inbox = {
  begin(name) {
    return name && ours.get(`inbox ${name}`)?.[0];
  },

  /** One more was shown, behind the number of the one before it. */
  note(name, prev) {
    const shown = ours.get(`inbox ${name}`) ?? [];
    if (!shown.includes(prev)) ours.set(`inbox ${name}`, [...shown, prev].slice(-AGAIN));
  },
};

/** For how long a tab without locks is taken to live after its last sign of life. */
const ALIVE = 180_000;
const BEAT = 60_000;
const TAB = "tab ";

/**
 * The tab, as the owner of what was said in it. It keeps its id when it is
 * loaded again; no other tab that is open has the same, not even its copy.
 *
 * Locks say who is open, where there are any (they need a secure context).
 * Otherwise each tab leaves a sign of life now and then.
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
        // Held until the tab is closed: the promise never ends.
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

  /** Says of any id whether a tab of that id is open. */
  async others() {
    if (!navigator.locks) return (id) => this.#isAlive(id);
    const { held } = await navigator.locks.query();
    const open = new Set(held.map((lock) => lock.name));
    return (id) => open.has(TAB + id);
  }
}

/** How long the browser may take to keep something before it is sent all the same. */
const PATIENCE = 1000;

/**
 * What was said in a room and is not known to be stored, as it outlives the
 * page. Each entry belongs to one tab, so that two never send the same; what a
 * tab left that is closed, the next one in the same room takes up.
 */
export class Shelf {
  #room;
  #tab = new Tab();
  #db = null;
  #last = 0;

  constructor(room) {
    this.#room = room;
  }

  /** Whether it outlives the page. */
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

  /** Keeps a message before it is sent; the order it was said in. */
  async put(command) {
    this.#last = Math.max(Date.now() * 1000, this.#last + 1);
    const order = this.#last;
    await this.#work((store) => store.put({ order, tab: this.#tab.id, room: this.#room, command }));
    return order;
  }

  /** It is stored, or never will be. */
  remove(order) {
    return this.#work((store) => store.delete(order));
  }

  /**
   * Takes up what was said in this room and has no open tab any more, in the
   * order it was said; with it, how much is left in which other rooms. This
   * tab's own of an earlier page is among it, but for what is `known`.
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

/** What a promise gives, or `null` where it fails or takes too long. */
function within(promise) {
  const late = new Promise((ended) => setTimeout(() => ended(null), PATIENCE));
  return Promise.race([promise.catch(() => null), late]);
}
