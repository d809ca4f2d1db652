import assert from "node:assert/strict";
import { test } from "node:test";

import { byteLength, dayName, dayOf, findWords, mentions, nameKey, splitLinks } from "../../src/http/page/text.mjs";
import { vectors } from "./vectors.mjs";

const links = (text) => splitLinks(text).flatMap(({ href }) => href ?? []);

test("only web and mail addresses become links", () => {
  for (const [text, found] of [
    ["nothing", []],
    ["see https://example.org/a?b=c#d.", ["https://example.org/a?b=c#d"]],
    ["(http://example.org/a_(b))", ["http://example.org/a_(b)"]],
    ["http://a.example, and HTTPS://B.example!", ["http://a.example", "HTTPS://B.example"]],
    ["**https://a.example**", ["https://a.example"]],
    ["javascript:alert(1) data:text/html,x ftp://a.example //a.example", []],
    ["http:// https://? https://", []],
    ["https://user:pass@evil.example/", []],
    ['https://a.example/"onmouseover="alert(1)', ["https://a.example/"]],
    ["<https://a.example/>", ["https://a.example/"]],
    ["www.a.example/x, and WWW.b.example.", ["https://www.a.example/x", "https://WWW.b.example"]],
    ["www. www.. www.@evil xwww.a.example /www.a.example www.a:b@evil.example", []],
    ["ask ana@a.example, or (ana.b+c@mail.a.example).", ["mailto:ana@a.example", "mailto:ana.b+c@mail.a.example"]],
    ["@ana hi@ana git@a.example:x root@10.0.0.1 a%0abcc:b@a.example", []],
    ["https://a.example/" + ")".repeat(3), ["https://a.example/"]],
    ["https://例え.テスト/道", ["https://例え.テスト/道"]],
  ]) {
    assert.deepEqual(links(text), found, text);
    assert.equal(splitLinks(text).map((part) => part.text).join(""), text, "nothing is lost");
  }
});

test("the words of a search are found as the server finds them", () => {
  for (const { text, query, found } of vectors("found")) {
    assert.deepEqual(findWords(text, query).map(([from, to]) => text.slice(from, to)), found, text);
  }
});

test("only a whole name is a mention", () => {
  for (const { text, name, mentioned } of vectors("mentions")) {
    assert.equal(mentions(text, name), mentioned, `${text} ${name}`);
  }
  assert.equal(mentions("hi", undefined), false);
});

test("equal letters make equal name keys", () => {
  const { alike, ...others } = vectors("names");
  for (const [one, other] of alike) assert.equal(nameKey(one), nameKey(other), `${one} ${other}`);
  for (const [one, other] of Object.values(others).flat()) {
    assert.notEqual(nameKey(one), nameKey(other), `${one} ${other}`);
  }
});

test("days are named relative to today", () => {
  const at = (text) => new Date(text).getTime();
  const now = at("2026-03-01T00:30:00");
  assert.equal(dayName(at("2026-03-01T00:00:00"), now), "Today");
  assert.equal(dayName(at("2026-02-28T23:59:59"), now), "Yesterday");
  assert.match(dayName(at("2026-02-27T12:00:00"), now), /27/);
  assert.match(dayName(at("2025-03-01T12:00:00"), now), /2025/);
  assert.notEqual(dayOf(at("2026-02-28T23:59:59")), dayOf(now));
});

test("lengths are in bytes of UTF-8", () => assert.equal(byteLength("aé世👋"), 10));
