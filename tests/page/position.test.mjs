import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff, isFinal, reconnectDelay } from "../../src/http/page/backoff.mjs";
import { ReadingPosition } from "../../src/http/page/position.mjs";
import { vectors } from "./vectors.mjs";

const welcome = (epoch, head) => ({ epoch, head });

/** Takes one step of a vector. */
function step(position, { message, is, start, resume, gap, ...rest }) {
  const stand = (pair) => ({ prev: pair[0], seq: pair[1] });
  if (message) assert.equal(position.take(stand(message)), is);
  else if (rest.private) assert.equal(position.takePrivate(stand(rest.private)), is);
  else if (start) assert.deepEqual(position.start(), start);
  else if (resume) position.resume(resume);
  else if (gap) position.skipTo(gap);
  else if (rest.renamed) position.renamed();
  else position.caughtUp(rest["caught up"]);
}

for (const { shows, welcome, backlog = null, steps } of vectors("position")) {
  test(shows, () => {
    const position = new ReadingPosition(welcome, backlog);
    for (const one of steps) step(position, one);
  });
}

test("reading continues only in the same log, within bounds", () => {
  const position = new ReadingPosition(welcome("e", 100), 0);
  for (const [epoch, head, canResume] of [
    ["e", 100, true],
    ["e", 5100, true],
    ["e", 5101, false],
    ["e", 99, false],
    ["f", 100, false],
  ]) {
    assert.equal(position.canResume(welcome(epoch, head)), canResume, `${epoch} ${head}`);
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

test("waits match the vectors", () => {
  for (const { failures, chance, ms } of vectors("backoff").waits) {
    const backoff = new Backoff(() => chance);
    for (let failure = 1; failure < failures; failure += 1) backoff.next();
    assert.equal(backoff.next(), ms, `${failures} ${chance}`);
  }
});

test("close codes say whether and when to return", () => {
  for (const { code, reason, final, ms } of vectors("backoff").closes) {
    assert.equal(isFinal(code), final, `${code}`);
    assert.equal(reconnectDelay(code, reason), ms, `${code} ${reason}`);
  }
  for (const code of [1000, 1002, 1003, 1007, 1009, 4500, 4501, 4999]) assert.ok(isFinal(code), `${code}`);
  for (const code of [1001, 1005, 1006, 1011, 4000, 4003, 4499, undefined]) assert.ok(!isFinal(code), `${code}`);
  assert.equal(reconnectDelay(4003, "250 ms: the server restarts"), 250);
  assert.equal(reconnectDelay(4003, "0 ms"), 10);
  assert.equal(reconnectDelay(4003, "999999999 ms"), 300_000);
  assert.equal(reconnectDelay(4003, "soon"), null);
  assert.equal(reconnectDelay(4001, "250 ms"), null);
});
