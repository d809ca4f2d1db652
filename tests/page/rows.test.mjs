import assert from "node:assert/strict";
import { test } from "node:test";

import { Heights } from "../../src/http/page/heights.mjs";
import { Rows, messageRow, quoteOf } from "../../src/http/page/rows.mjs";
import { vectors } from "./vectors.mjs";

test("heights match plain sums", () => {
  let seed = 3;
  const chance = (among) => (seed = (seed * 48271) % 2147483647) % among;
  const heights = new Heights();
  let plain = [];
  for (let step = 0; step < 500; step += 1) {
    const height = 1 + chance(100);
    switch (chance(5)) {
      case 0:
        heights.unshift([height, height + 1]);
        plain = [height, height + 1, ...plain];
        break;
      case 1:
        if (!plain.length) break;
        plain[height % plain.length] = height;
        heights.set(height % plain.length, height);
        break;
      case 2:
        if (plain.length < 50) break;
        heights.dropFirst(20);
        plain = plain.slice(20);
        break;
      default:
        heights.insert(plain.length && height % plain.length, height);
        plain.splice(plain.length && height % plain.length, 0, height);
    }
    const total = plain.reduce((sum, one) => sum + one, 0);
    assert.equal(heights.total, total);
    const y = chance(total + 2);
    let row = 0;
    for (let top = 0; row < plain.length - 1 && top + plain[row] <= y; row += 1) top += plain[row];
    assert.equal(heights.at(y), row);
    assert.equal(heights.top(row), plain.slice(0, row).reduce((sum, one) => sum + one, 0));
  }
  assert.equal(new Heights().at(7), 0);
  assert.equal(heights.at(-5), 0);
});

const message = (seq, who = "ana", at = seq * 1000) =>
  messageRow({ type: "message", seq, at: new Date(at).toISOString(), from: { name: who, addr: "" }, text: `m${seq}` });

function rowsOf(...all) {
  const rows = new Rows();
  for (const row of all) rows.add(row);
  return rows;
}

test("messages are found by number among other rows", () => {
  const rows = rowsOf(message(3), message(7));
  const note = { kind: "note", place: rows.end, at: 7000, text: "", who: "" };
  rows.add(note);
  rows.add(message(9));
  rows.unshift([message(1)]);
  assert.equal(rows.firstSeq, 1);
  for (const [seq, index] of [
    [1, 0],
    [3, 1],
    [7, 2],
    [9, 4],
    [2, -1],
    [8, -1],
  ]) {
    assert.equal(rows.indexOf(seq), index, `${seq}`);
  }
  assert.equal(rows.redact(7), 2);
  assert.deepEqual([rows.at(2).kind, rows.at(2).text], ["erased", ""]);
  assert.equal(rows.redact(8), -1);
  assert.equal(rows.add({ kind: "private", place: 8, at: 0, text: "", who: "" }), 4);
});

test("private rows are sorted between older messages", () => {
  const between = (place) => ({ kind: "private", place, at: 0, text: "", who: "" });
  const rows = rowsOf(between(2), between(4), message(7), between(8));
  assert.equal(rows.unshift([message(1), message(3), message(5)]).moved, 2);
  const places = Array.from({ length: rows.length }, (_, n) => rows.at(n).place);
  assert.deepEqual(places, [1, 2, 3, 4, 5, 7, 8]);
  assert.equal(rowsOf(between(2)).unshift([message(3)]).moved, 1);
  assert.equal(rowsOf().unshift([message(3)]).moved, 0);
});

test("a known message keeps its one row", () => {
  const rows = rowsOf(message(3), message(7));
  const third = rows.at(0);
  assert.equal(rows.add(message(3)), -1);
  assert.deepEqual(rows.unshift([message(1), message(3), message(5), message(7), message(9)]).older.length, 5);
  const seqs = () => Array.from({ length: rows.length }, (_, n) => rows.at(n).seq);
  assert.deepEqual(seqs(), [1, 3, 5, 7, 9]);
  assert.equal(rows.at(1), third);
  assert.equal(rows.add(message(9)), -1);
  assert.deepEqual(seqs(), [1, 3, 5, 7, 9]);
  // An erased message stays erased, whichever event comes first.
  assert.equal(rows.add(messageRow({ type: "erased", seq: 9, prev: 7 }, 0)), -1);
  rows.add(message(9));
  rows.unshift([message(9)]);
  assert.deepEqual([rows.at(4).kind, rows.at(4).text], ["erased", ""]);
});

test("messages of one person are grouped within a day", () => {
  const evening = new Date("2026-01-01T23:58:00").getTime();
  const minute = 60_000;
  const rows = rowsOf(
    message(1, "ana", evening),
    message(2, "ana", evening + minute),
    message(3, "bob", evening + minute),
    message(4, "bob", evening + 3 * minute),
    message(5, "bob", evening + 9 * minute),
  );
  const flags = Array.from({ length: 5 }, (_, n) => [rows.continuesGroup(n), rows.beginsDay(n)]);
  assert.deepEqual(flags, [
    [false, true],
    [true, false],
    [false, false],
    [false, true],
    [false, false],
  ]);
});

test("a busy person is named again after ten messages", () => {
  const rows = rowsOf(...Array.from({ length: 25 }, (_, n) => message(n + 1, "bot", 1000 + n)));
  const named = () => rows.all.flatMap((row, index) => (rows.continuesGroup(index) ? [] : [row.seq]));
  // The last row is drawn first, as in a log that shows its end.
  assert.equal(rows.continuesGroup(24), true);
  assert.deepEqual(named(), [1, 11, 21]);
  // An erased message begins a group after it.
  rows.redact(13);
  assert.deepEqual(named(), [1, 11, 13, 14, 21]);
});

test("kept rows are bounded in number and in letters", () => {
  const rows = new Rows();
  for (let seq = 1; seq <= 1000; seq += 1) rows.add(message(seq));
  assert.equal(rows.trim(1000), 0);
  assert.equal(rows.trim(800), 300);
  assert.equal(rows.firstSeq, 301);
  assert.equal(rows.trim(1000, 2000), 700 - 437);
});

test("quotes are cut as the vectors say", () => {
  for (const { text, quote } of vectors("quotes")) assert.equal(quoteOf(text), quote);
});

// Verified to fail when names that a change leaves out are forgotten.
test("a change without names keeps those known before", () => {
  const rows = new Rows();
  const reaction = (text, count, names) => ({ text, count, ...(names && { names }) });
  const react = (reactions) => rows.change({ about: 1, kind: "react", text: "b", reactions });
  const before = [reaction("a", 1, ["ana"]), reaction("b", 1, ["bob"])];
  rows.add(messageRow({ seq: 1, at: "2026-11-22T10:00:00Z", from: { name: "ana" }, text: "tea", reactions: before }));
  react([reaction("a", 1), reaction("b", 2, ["bob", "eva"])]);
  const now = [reaction("a", 1, ["ana"]), reaction("b", 2, ["bob", "eva"])];
  assert.deepEqual(rows.at(0).reactions, now);
  react([reaction("c", 1), reaction("b", 1, ["eva"])]);
  assert.deepEqual(rows.at(0).reactions, [reaction("c", 1, []), reaction("b", 1, ["eva"])]);
});

test("a change reaches its message and the quotes of it", () => {
  const rows = new Rows();
  const quote = { from: { name: "ana" }, text: "vife" };
  rows.add(messageRow({ seq: 1, at: "2026-11-22T10:00:00Z", from: { name: "ana" }, text: "vife" }));
  rows.add(messageRow({ seq: 2, at: "2026-11-22T10:00:01Z", from: { name: "bob" }, text: "?", about: 1, quote }));
  assert.equal(rows.change({ about: 1, kind: "edit", text: "five", at: "2026-11-22T10:01:00Z" }), 0);
  const reactions = [{ text: "+1", count: 1, names: ["bob"] }];
  assert.equal(rows.change({ about: 1, kind: "react", text: "+1", reactions }), 0);
  assert.equal(rows.change({ about: 9, kind: "edit", text: "lost", at: "2026-11-22T10:01:00Z" }), -1);
  const [first, reply] = rows.all;
  assert.deepEqual([first.text, first.reactions, reply.quote.text], ["five", reactions, "five"]);
  assert.equal(first.edited, Date.parse("2026-11-22T10:01:00Z"));
  rows.redact(1);
  assert.deepEqual([rows.at(0).kind, rows.at(0).text, rows.at(0).reactions, rows.at(1).quote], ["erased", "", undefined, undefined]);
  assert.equal(rows.change({ about: 1, kind: "edit", text: "again", at: "2026-11-22T10:02:00Z" }), 0);
  assert.equal(rows.at(0).text, "");
});
