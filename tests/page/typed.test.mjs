import assert from "node:assert/strict";
import { test } from "node:test";

import { COMMANDS } from "../../src/http/page/commands.mjs";
import { bestFits, completions, isName, isRoom, parse } from "../../src/http/page/typed.mjs";
import { vectors } from "./vectors.mjs";

/** The command that the server gets for a typed text. */
function asked(typed) {
  const found = parse(typed);
  if (!found) return null;
  const { command, act, wrong, panel, room, query, text, name, seq = null } = found;
  if (wrong) return "wrong";
  if (act === "talk") return { talk: name };
  if (act === "go") return { type: "join", room };
  if (act === "reply") return { reply: text };
  if (act === "delete") return { delete: seq };
  if (act === "search") return { type: "search", query };
  if (act === "show") return { people: { type: "members" }, rooms: { type: "rooms" }, help: "help" }[panel];
  return command;
}

test("typed text is parsed as the vectors say", () => {
  for (const { typed, asks, page = asks } of vectors("commands")) assert.deepEqual(asked(typed), page, typed);
});

test("every command of the list can be typed", () => {
  for (const [word, form] of COMMANDS) {
    const words = form.replace(/[[\]]/g, "").replace("2h", "1h").replace("SECRET", "s").replace("LEVEL", "all").replace(/NUMBER|USES|\bN\b|\bID\b/, "7");
    assert.notEqual(asked(`${word} ${words}`), "wrong", word);
  }
});

test("an unknown command names itself and the nearest", () => {
  for (const [typed, nearest] of [
    ["/jion tea", "/jion. Did you mean /join?"],
    ["/serach x", "/serach. Did you mean /search?"],
    ["/Rooms", "/Rooms. Did you mean /rooms?"],
  ]) {
    assert.ok(parse(typed).wrong.includes(nearest), parse(typed).wrong);
  }
  assert.ok(parse(`/${"x".repeat(5000)}`).wrong.length < 200);
});

test("names and rooms are checked", () => {
  for (const name of ["ana", "Ünïcødé", "世界", "a.b-c_d", "x".repeat(32)]) assert.ok(isName(name), name);
  for (const name of ["", "a b", "a:b", "<b>", "\u0301a", "x".repeat(33)]) assert.ok(!isName(name), name);
  for (const room of ["tea", "_x", "0.9-a", "#tea"]) assert.ok(isRoom(room), room);
  for (const room of ["", "#", "##a", ".x", "-x", "a/b", "ä", "x".repeat(65)]) assert.ok(!isRoom(room), room);
});

test("completions fit the word before the caret", () => {
  const known = { names: ["ana", "Anton", "bob"], rooms: ["tea", "lobby"] };
  const offered = (text, caret = text.length) => completions(text, caret, known).items.map((item) => item.text);
  assert.deepEqual(offered("/na"), ["/name "]);
  assert.deepEqual(offered("/NA"), ["/name "]);
  assert.equal(offered("/").length, 6);
  assert.deepEqual(offered("//na"), []);
  assert.deepEqual(offered("hi /na"), []);
  assert.deepEqual(offered("/join t"), ["tea "]);
  assert.deepEqual(offered("/join #t"), ["#tea "]);
  // Enter gives a whole command, though others begin with it.
  assert.deepEqual(offered("/me"), ["/members "]);
  assert.ok(completions("/me", 3, known).whole && !completions("/mem", 4, known).whole);
  assert.deepEqual(offered("/msg a"), ["ana ", "Anton "]);
  assert.deepEqual(offered("/msg ana h"), []);
  assert.deepEqual(offered("hi @an"), ["@ana ", "@Anton "]);
  assert.deepEqual(offered("hi @an, there", 6), ["@ana ", "@Anton "]);
  assert.deepEqual(offered("hi an"), []);
  assert.equal(completions("hi @an", 6, known).from, 3);
});

test("the best fits of a query stand first", () => {
  const fits = (query, ...all) => bestFits(all, (name) => name, query);
  assert.deepEqual(fits("tea", "great", "instead", "a-tea", "teapot", "tea", "the-east", "t-e-a"), [
    "tea", "teapot", "a-tea", "instead", "t-e-a", "the-east",
  ]);
  assert.deepEqual(fits("TEA", "Tea", "coffee"), ["Tea"]);
  assert.deepEqual(fits("oe", "coffee", "some", "ops"), ["some", "coffee"]);
  // Equals stay in their order.
  assert.deepEqual(fits("b", "bob", "ab", "beth"), ["bob", "beth", "ab"]);
});
