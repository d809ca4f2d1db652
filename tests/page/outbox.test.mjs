import assert from "node:assert/strict";
import { test } from "node:test";

import { Outbox } from "../../src/http/page/outbox.mjs";

const message = (id) => ({ type: "publish", text: id, id });

function outboxOf(...ids) {
  const outbox = new Outbox();
  for (const id of ids) outbox.push(message(id));
  return outbox;
}

/** Everything that may be handed over now, as ids with what they follow. */
function handed(outbox) {
  const all = [];
  for (let command; (command = outbox.next()); ) {
    all.push(command.follows ? `${command.follows}>${command.id}` : (command.id ?? command.name));
  }
  return all;
}

test("what is said leaves with its receipt, and each follows the one before", () => {
  const outbox = outboxOf("a", "b");
  assert.deepEqual(handed(outbox), ["a", "a>b"]);
  assert.equal(outbox.unconfirmed, 2);
  assert.equal(outbox.confirm("a"), true);
  assert.equal(outbox.confirm("a"), false);
  outbox.push(message("b"));
  assert.equal(outbox.unconfirmed, 1, "it is under way already");
  outbox.push(message("c"));
  assert.deepEqual(handed(outbox), ["b>c"]);
});

test("a new connection is handed everything again, in order", () => {
  const outbox = outboxOf("a", "b", "c");
  handed(outbox);
  outbox.confirm("b");
  outbox.startOver();
  assert.deepEqual(handed(outbox), ["a", "a>c"]);
});

test("what is stored may be heard of before it is handed over again", () => {
  const outbox = outboxOf("a", "b");
  outbox.startOver();
  assert.equal(outbox.confirm("a"), true);
  assert.equal(outbox.refuse("b"), false, "it is not in flight");
  assert.deepEqual(handed(outbox), ["b"]);
  assert.equal(outbox.refuse("b"), true);
  assert.equal(outbox.unconfirmed, 0);
});

test("a refusal for now holds back all behind it until everything is answered", () => {
  const outbox = outboxOf("a", "b", "c");
  handed(outbox);
  assert.equal(outbox.hold("b", 50), true);
  assert.equal(outbox.hold("b", 60), false);
  outbox.push(message("d"));
  assert.deepEqual(handed(outbox), []);
  assert.equal(outbox.heldUntil, null, "answers are still to come");
  outbox.confirm("a");
  assert.equal(outbox.hold("c", 40), true);
  assert.equal(outbox.heldUntil, 50);
  outbox.release();
  assert.deepEqual(handed(outbox), ["b"], "the first one alone");
  outbox.confirm("b");
  assert.deepEqual(handed(outbox), ["b>c", "c>d"], "and one more with each receipt");
});

test("a change of name waits for all before it and holds up all behind it", () => {
  const outbox = outboxOf("a");
  const change = { type: "name", name: "ana" };
  outbox.push(change);
  outbox.push(message("b"));
  assert.deepEqual(handed(outbox), ["a"]);
  outbox.confirm("a");
  assert.deepEqual(handed(outbox), ["ana"]);
  assert.equal(outbox.changed(), change);
  assert.deepEqual(handed(outbox), ["a>b"]);
  assert.equal(outbox.changed(), null);
});

test("it holds so much and no more", () => {
  const outbox = new Outbox();
  while (outbox.hasRoom) outbox.push(message(`m-${outbox.unconfirmed}`));
  assert.equal(outbox.unconfirmed, 1000);
  const long = new Outbox();
  while (long.hasRoom) long.push({ ...message(`m-${long.unconfirmed}`), text: "x".repeat(8192) });
  assert.equal(long.unconfirmed, 512);
});

test("whatever is refused for now, lost and repeated, everything is stored once and in order", () => {
  let seed = 7;
  const chance = (among) => (seed = (seed * 48271) % 2147483647) % among;
  for (let world = 0; world < 200; world += 1) {
    const outbox = new Outbox();
    const stored = [];
    let refused = new Set();
    let pushed = 0;
    while (pushed < 30 || outbox.unconfirmed) {
      if (pushed < 30 && chance(2)) outbox.push(message(`${(pushed += 1)}`));
      for (let command; (command = outbox.next()); ) {
        if (chance(20) === 0) {
          // The connection breaks, before or after it was stored.
          if (chance(2) && !refused.has(command.follows) && !stored.includes(command.id)) stored.push(command.id);
          refused = new Set();
          outbox.startOver();
        } else if (stored.includes(command.id)) {
          outbox.confirm(command.id);
        } else if (refused.has(command.follows) || chance(5) === 0) {
          refused.add(command.id);
          outbox.hold(command.id, 0);
        } else {
          refused.delete(command.id);
          stored.push(command.id);
          outbox.confirm(command.id);
        }
      }
      if (outbox.heldUntil !== null) outbox.release();
    }
    assert.deepEqual(stored, Array.from({ length: 30 }, (_, n) => `${n + 1}`));
  }
});
