// The rows of the log: messages, and what was told between them.

import { dayOf } from "./text.mjs";

/** How many rows are kept, and how many letters of text. */
const MOST = 100_000;
const MOST_TEXT = 16 << 20;

/** For how long what one person says belongs together. */
const TOGETHER = 5 * 60_000;

/** A message as a row; of one that was erased, about when it was said. */
export function messageRow({ seq, at, from, text, id, kind }, about) {
  return {
    kind: text === undefined ? "erased" : (kind ?? "said"),
    place: seq,
    seq,
    at: at ? Date.parse(at) : about,
    who: from?.name ?? from?.addr ?? "",
    addr: from?.addr,
    id,
    text: text ?? "",
  };
}

/**
 * Rows by their place: the number of a message, or just behind one. A message is
 * one row, whether it came as it was said, with what is older, or both ways.
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

  /** Where something told just now belongs. */
  get end() {
    return Math.floor(this.#rows.at(-1)?.place ?? 0) + 0.5;
  }

  /**
   * Adds a row, nearly always at the end; where, or -1 for a message that is
   * known, of which it may be news that it was erased.
   */
  add(row) {
    if (this.#isKnown(row)) {
      if (row.kind === "erased") this.erase(row.seq);
      return -1;
    }
    const last = this.#rows.at(-1);
    const index = last && row.place < last.place ? this.find(row.place) : this.#rows.length;
    this.#rows.splice(index, 0, row);
    this.#text += row.text.length;
    return index;
  }

  /**
   * Adds older messages, but for those that are known. Something else may stand
   * before the first one that was, and belong between them: how many rows were
   * `moved`, and what stands at the beginning now, these and the `older` ones.
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

  /** Forgets the oldest where there are too many, an eighth at a time; how many. */
  trim(most = MOST, mostText = MOST_TEXT) {
    if (this.#rows.length <= most && this.#text <= mostText) return 0;
    let count = 0;
    while (
      count < this.#rows.length - 1 &&
      (this.#rows.length - count > most * 0.875 || this.#text > mostText * 0.875)
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

  /** The first row at or behind a place; the end where there is none. */
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

  /** The row of a message, or -1. */
  indexOf(seq) {
    const index = this.find(seq);
    return this.#rows[index]?.seq === seq ? index : -1;
  }

  /** A message is no more; the row it had, or -1. */
  erase(seq) {
    const index = this.indexOf(seq);
    if (index >= 0) {
      const row = this.#rows[index];
      this.#text -= row.text.length;
      this.#rows[index] = { ...row, kind: "erased", text: "" };
    }
    return index;
  }

  /** Whether a row begins another day than the one before it. */
  beginsDay(index) {
    const row = this.#rows[index];
    return index === 0 || dayOf(this.#rows[index - 1].at) !== dayOf(row.at);
  }

  /** Whether a row goes on with what the same person said before it. */
  goesOn(index) {
    const row = this.#rows[index];
    const before = this.#rows[index - 1];
    return (
      before?.kind === "said" &&
      row.kind === "said" &&
      before.who === row.who &&
      Math.abs(row.at - before.at) < TOGETHER &&
      !this.beginsDay(index)
    );
  }
}
