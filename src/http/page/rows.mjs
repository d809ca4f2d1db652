// The rows of the log: messages, and notes between them.

import { dayOf } from "./text.mjs";

/** The most rows kept, and the most letters of their text. */
const MAX_ROWS = 100_000;
const MAX_TEXT = 16 << 20;

/** Messages of one person closer together than this are one group, in milliseconds. */
const GROUP_WITHIN = 5 * 60_000;

/** How many messages one name stands above. */
const GROUP_OF = 10;

/** A message as a row; an erased message has no time and gets `fallbackAt`. */
export function messageRow({ seq, at, from, text, id, kind, about, quote, edited_at: edited, reactions }, fallbackAt) {
  return {
    kind: text === undefined ? "erased" : (kind ?? "said"),
    place: seq,
    seq,
    at: at ? Date.parse(at) : fallbackAt,
    who: from?.name ?? from?.addr ?? "",
    addr: from?.addr,
    unverified: from?.unverified,
    id,
    text: text ?? "",
    about,
    quote,
    edited: edited && Date.parse(edited),
    reactions,
  };
}

/** How many characters of a message are quoted. */
const QUOTED = 80;

/** The beginning of a text on one line, as the server quotes it. */
export function quoteOf(text) {
  const letters = [...new Intl.Segmenter().segment(text.slice(0, 40 * QUOTED))].map(({ segment }) => segment);
  const line = (part) => part.join("").replace(/[\n\t]/g, " ");
  return letters.length <= QUOTED ? line(letters) : `${line(letters.slice(0, QUOTED - 1)).trimEnd()}…`;
}

/**
 * The rows in order of their place: a message's number, or just after one. A
 * message has one row, even if it came both live and with older messages.
 */
export class Rows {
  #rows = [];
  #text = 0;

  get length() {
    return this.#rows.length;
  }

  get all() {
    return this.#rows;
  }

  at(index) {
    return this.#rows[index];
  }

  /** The number of the first message, if there is any. */
  get firstSeq() {
    return this.#rows.find((row) => row.seq)?.seq;
  }

  /** The place of a note made now, after the last message. */
  get end() {
    return Math.floor(this.#rows.at(-1)?.place ?? 0) + 0.5;
  }

  /**
   * Adds a row, nearly always at the end, and returns its index; -1 for a known
   * message. An erased row redacts the known message.
   */
  add(row) {
    if (this.#isKnown(row)) {
      if (row.kind === "erased") this.redact(row.seq);
      return -1;
    }
    const last = this.#rows.at(-1);
    const index = last && row.place < last.place ? this.find(row.place) : this.#rows.length;
    this.#rows.splice(index, 0, row);
    this.#text += row.text.length;
    return index;
  }

  /**
   * Adds older messages, except known ones. Notes and private messages at the
   * beginning may belong between them. Returns how many such rows were `moved`,
   * and all the `older` rows now at the beginning, the moved ones included.
   */
  unshift(all) {
    const rows = all.filter((row) => !this.#isKnown(row));
    const end = rows.at(-1)?.place ?? 0;
    const moved = this.#rows.findIndex((row) => row.place > end);
    const count = moved < 0 ? this.#rows.length : moved;
    const older = [...rows, ...this.#rows.slice(0, count)].sort((a, b) => a.place - b.place);
    this.#rows = [...older, ...this.#rows.slice(count)];
    for (const row of rows) this.#text += row.text.length;
    return { moved: count, older };
  }

  #isKnown({ seq }) {
    return seq !== undefined && this.indexOf(seq) >= 0;
  }

  /** Drops the oldest rows over a bound, and an eighth more; returns how many. */
  trim(maxRows = MAX_ROWS, maxText = MAX_TEXT) {
    if (this.#rows.length <= maxRows && this.#text <= maxText) return 0;
    let count = 0;
    while (
      count < this.#rows.length - 1 &&
      (this.#rows.length - count > maxRows * 0.875 || this.#text > maxText * 0.875)
    ) {
      this.#text -= this.#rows[count].text.length;
      count += 1;
    }
    this.#rows = this.#rows.slice(count);
    return count;
  }

  clear() {
    this.#rows = [];
    this.#text = 0;
  }

  /** The index of the first row at or after a place; `length` if there is none. */
  find(place) {
    let low = 0;
    let high = this.#rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#rows[middle].place < place) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The index of a message's row, or -1. */
  indexOf(seq) {
    const index = this.find(seq);
    return this.#rows[index]?.seq === seq ? index : -1;
  }

  /** Removes the text of a message and its quotes; returns the index of its row, or -1. */
  redact(seq) {
    this.#requote(seq, undefined);
    return this.#revise(seq, { kind: "erased", text: "", quote: undefined, reactions: undefined, edited: undefined });
  }

  /** Carries out a change of a message; returns the index of its row, or -1. */
  change({ about: seq, kind, text, at, reactions }) {
    if (kind !== "edit") return reactions ? this.#react(seq, reactions) : -1;
    if (text === undefined) return -1;
    this.#requote(seq, quoteOf(text));
    return this.#revise(seq, { text, edited: Date.parse(at) });
  }

  /** Replaces the reactions to a message. A reaction without names has those of before. */
  #react(seq, now) {
    const before = this.#rows[this.indexOf(seq)]?.reactions;
    const named = (it) => it.names ?? before?.find(({ text }) => text === it.text)?.names ?? [];
    return this.#revise(seq, { reactions: now.map((it) => ({ ...it, names: named(it) })) });
  }

  /** Replaces fields of a message's row; returns its index, or -1. */
  #revise(seq, fields) {
    const index = this.indexOf(seq);
    if (index >= 0 && this.#rows[index].kind !== "erased") {
      const row = this.#rows[index];
      this.#rows[index] = { ...row, ...fields, unfolded: undefined };
      this.#text += this.#rows[index].text.length - row.text.length;
    }
    return index;
  }

  /** Gives the quotes of a message its new text, or removes them. */
  #requote(seq, text) {
    for (let index = this.find(seq); index < this.#rows.length; index += 1) {
      const row = this.#rows[index];
      if (row.about === seq && row.quote) this.#rows[index] = { ...row, quote: text === undefined ? undefined : { ...row.quote, text } };
    }
  }

  /** Whether a row begins another day than the one before it. */
  beginsDay(index) {
    const row = this.#rows[index];
    return index === 0 || dayOf(this.#rows[index - 1].at) !== dayOf(row.at);
  }

  /** Whether a row continues the group of messages before it. */
  continuesGroup(index) {
    let first = index;
    while (this.#rows[first].inGroup === undefined && this.#followsSame(first)) first -= 1;
    this.#rows[first].inGroup ??= 0;
    for (let at = first + 1; at <= index; at += 1) {
      this.#rows[at].inGroup = (this.#rows[at - 1].inGroup + 1) % GROUP_OF;
    }
    return this.#rows[index].inGroup > 0 && this.#followsSame(index);
  }

  /** Whether a row follows a message of the same person, soon and on the same day. */
  #followsSame(index) {
    const row = this.#rows[index];
    const before = this.#rows[index - 1];
    return (
      before?.kind === "said" &&
      row.kind === "said" &&
      before.who === row.who &&
      Math.abs(row.at - before.at) < GROUP_WITHIN &&
      !this.beginsDay(index)
    );
  }
}
