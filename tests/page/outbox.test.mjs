import assert from "node:assert/strict";
import { test } from "node:test";

import { Outbox } from "../../src/http/page/outbox.mjs";
import { vectors } from "./vectors.mjs";

const message = (id) => ({ type: "publish", text: id, id });

/** All commands that may be sent now, as ids with the id each follows. */
function handed(outbox) {
  const all = [];
  for (let command; (command = outbox.next()); ) {
    all.push(command.follows ? `${command.follows}>${command.id}` : (command.id ?? `name ${command.name}`));
  }
  return all;
}

/** Takes one step of a vector. */
function step(outbox, { push, name, confirm, refuse, hold, until, was, ...rest }) {
  if (push) outbox.push(message(push));
  else if (name) outbox.push({ type: "name", name });
  else if (confirm) assert.equal(outbox.confirm(confirm), was);
  else if (refuse) assert.equal(outbox.refuse(refuse), was);
  else if (hold) assert.equal(outbox.hold(hold, until), was);
  else if (rest.next) assert.deepEqual(handed(outbox), rest.next);
  else if (rest.release) outbox.release();
  else if (rest["start over"]) outbox.startOver();
  else if ("unconfirmed" in rest) assert.equal(outbox.unconfirmed, rest.unconfirmed);
  else if ("held until" in rest) assert.equal(outbox.heldUntil, rest["held until"]);
  else assert.equal(outbox.takeNameChange()?.name ?? null, rest.changed);
}

for (const { shows, steps } of vectors("outbox")) {
  test(shows, () => {
    const outbox = new Outbox();
    for (const one of steps) step(outbox, one);
  });
}

test("the outbox is bounded in commands and in letters", () => {
  const outbox = new Outbox();
  while (outbox.hasRoom) outbox.push(message(`m-${outbox.unconfirmed}`));
  assert.equal(outbox.unconfirmed, 1000);
  const long = new Outbox();
  while (long.hasRoom) long.push({ ...message(`m-${long.unconfirmed}`), text: "x".repeat(8192) });
  assert.equal(long.unconfirmed, 512);
});

test("despite refusals and losses, all is stored once, in order", () => {
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
          // The connection breaks, before or after the message was stored.
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
