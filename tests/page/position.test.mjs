import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff, askedWait, isFinal } from "../../src/http/page/backoff.mjs";
import { Reading } from "../../src/http/page/position.mjs";

const welcome = (epoch, head) => ({ epoch, head });
const message = (prev, seq) => ({ prev, seq });

test("repeats and holes", () => {
  const reading = new Reading(welcome("e", 7), 0);
  reading.caughtUp(7);
  assert.deepEqual(reading.start(), { after: 7, epoch: "e" });
  // Other rooms' numbers lie between: what counts is that `prev` is known.
  for (const [prev, seq, step] of [
    [4, 9, "next"],
    [9, 12, "next"],
    [9, 12, "repeated"],
    [4, 9, "repeated"],
    [13, 15, "hole"],
    [15, 16, "next"],
  ]) {
    assert.equal(reading.take(message(prev, seq)), step, `${prev} ${seq}`);
  }
  reading.caughtUp(20);
  assert.equal(reading.take(message(16, 21)), "next");
  reading.skipTo(30);
  assert.equal(reading.take(message(29, 30)), "next");
  assert.deepEqual(reading.start(), { after: 30, epoch: "e" });
});

test("a backlog stands before the end of the log", () => {
  const reading = new Reading(welcome("e", 7), 2);
  assert.deepEqual(reading.start(), { backlog: 2 });
  assert.equal(reading.take(message(3, 5)), "next");
  assert.deepEqual(reading.start(), { after: 5, epoch: "e" });
  const empty = new Reading(welcome("e", 7), 2);
  empty.caughtUp(7);
  assert.deepEqual(empty.start(), { after: 7, epoch: "e" });
});

test("what was shown leads up to what comes, or not", () => {
  const reading = new Reading(welcome("e", 100), 0);
  for (const [epoch, head, goesOn] of [
    ["e", 100, true],
    ["e", 5100, true],
    ["e", 5101, false],
    ["e", 99, false],
    ["f", 100, false],
  ]) {
    assert.equal(reading.goesOn(welcome(epoch, head)), goesOn, `${epoch} ${head}`);
  }
});

test("waits grow within bounds, and begin again", () => {
  for (const chance of [0, 0.5, 1]) {
    const backoff = new Backoff(() => chance);
    let before = 0;
    for (let failure = 0; failure < 2000; failure += 1) {
      const wait = backoff.next();
      assert.ok(wait >= 100 && wait <= 15_000 && wait >= before);
      before = wait;
    }
    assert.equal(before, 100 + 14_900 * chance);
    backoff.startOver();
    assert.ok(backoff.next() <= 200);
  }
});

test("what a close code says", () => {
  for (const code of [1000, 1002, 1003, 1007, 1009, 4500, 4501, 4999]) assert.ok(isFinal(code), `${code}`);
  for (const code of [1001, 1005, 1006, 1011, 4000, 4003, 4499, undefined]) assert.ok(!isFinal(code), `${code}`);
  assert.equal(askedWait(4003, "250 ms: the server restarts"), 250);
  assert.equal(askedWait(4003, "0 ms"), 10);
  assert.equal(askedWait(4003, "999999999 ms"), 300_000);
  assert.equal(askedWait(4003, "soon"), null);
  assert.equal(askedWait(4001, "250 ms"), null);
});

test("private messages have an order of their own, and a place in that of the log", () => {
  const reading = new Reading({ ...welcome("e", 7), inbox: 3 }, 2);
  assert.deepEqual(reading.start(), { backlog: 2, inbox: 3 });
  assert.equal(reading.takePrivate(message(2, 4)), "next");
  assert.equal(reading.takePrivate(message(2, 4)), "repeated");
  assert.equal(reading.take(message(3, 5)), "next");
  assert.equal(reading.takePrivate(message(4, 9)), "next");
  assert.deepEqual(reading.start(), { after: 9, epoch: "e", inbox: 9 });
  assert.equal(reading.takePrivate(message(11, 12)), "hole");
  assert.equal(reading.take(message(5, 14)), "next");
  assert.deepEqual(reading.start(), { after: 14, epoch: "e", inbox: 14 });
  reading.renamed();
  assert.deepEqual(reading.start(), { after: 14, epoch: "e" });
  reading.resume({ ...welcome("e", 20), inbox: 6 });
  assert.deepEqual(reading.start(), { after: 14, epoch: "e", inbox: 6 });
});
