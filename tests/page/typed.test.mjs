import assert from "node:assert/strict";
import { test } from "node:test";

import { completions, isName, isRoom, parse } from "../../src/http/page/typed.mjs";

const command = (type, fields) => ({ command: { type, ...fields } });

test("what is typed", () => {
  for (const [text, asked] of [
    ["", null],
    [" \n", null],
    ["hi", command("publish", { text: "hi" })],
    [" two\nlines ", command("publish", { text: " two\nlines " })],
    ["//etc", command("publish", { text: "/etc" })],
    ["/me waves\nand goes", command("publish", { text: "waves\nand goes", kind: "me" })],
    ["/name ana", command("name", { name: "ana" })],
    ["/name ana 0123456789abcdef", command("name", { name: "ana", secret: "0123456789abcdef" })],
    ["/msg bob so  it is", command("private", { to: "bob", text: "so  it is" })],
    ["/join Tea", { act: "go", room: "tea" }],
    ["/members", { act: "show", panel: "people" }],
    ["/search green tea", { act: "search", query: "green tea" }],
    ["/topic", command("topic", {})],
    ["/topic -", command("topic", { text: "" })],
    ["/topic five o'clock", command("topic", { text: "five o'clock" })],
    ["/erase 7", command("erase", { seq: 7 })],
    ["/operator s", command("operator", { secret: "s" })],
    ["/kick ana", command("kick", { who: "ana" })],
    ["/kick ana too loud", command("kick", { who: "ana", reason: "too loud" })],
    ["/ban ana 2h too loud", command("ban", { who: "ana", for: "2h", reason: "too loud" })],
    ["/ban ana 2 much", command("ban", { who: "ana", reason: "2 much" })],
    ["/mute ana 30m", command("mute", { who: "ana", for: "30m" })],
    ["/unban 10.0.0.7", command("unban", { who: "10.0.0.7" })],
  ]) {
    assert.deepEqual(parse(text), asked, text);
  }
  for (const text of ["/", "/dance", "/me", "/name", "/name a b", "/name a:b", "/join a/b", "/msg bob", "/erase x", "/mute ana long", "/unmute"]) {
    assert.ok(parse(text).wrong, text);
  }
});

test("names and rooms", () => {
  for (const name of ["ana", "Ünïcødé", "世界", "a.b-c_d", "x".repeat(32)]) assert.ok(isName(name), name);
  for (const name of ["", "a b", "a:b", "<b>", "\u0301a", "x".repeat(33)]) assert.ok(!isName(name), name);
  for (const room of ["tea", "_x", "0.9-a"]) assert.ok(isRoom(room), room);
  for (const room of ["", ".x", "-x", "a/b", "ä", "x".repeat(65)]) assert.ok(!isRoom(room), room);
});

test("how a word may go on", () => {
  const known = { names: ["ana", "Anton", "bob"], rooms: ["tea", "lobby"] };
  const offered = (text, caret = text.length) => completions(text, caret, known).items.map((item) => item.text);
  assert.deepEqual(offered("/na"), ["/name "]);
  assert.deepEqual(offered("/NA"), ["/name "]);
  assert.equal(offered("/").length, 6);
  assert.deepEqual(offered("//na"), []);
  assert.deepEqual(offered("hi /na"), []);
  assert.deepEqual(offered("/join t"), ["tea "]);
  assert.deepEqual(offered("/msg a"), ["ana ", "Anton "]);
  assert.deepEqual(offered("/msg ana h"), []);
  assert.deepEqual(offered("hi @an"), ["@ana ", "@Anton "]);
  assert.deepEqual(offered("hi @an, there", 6), ["@ana ", "@Anton "]);
  assert.deepEqual(offered("hi an"), []);
  assert.equal(completions("hi @an", 6, known).from, 3);
});
