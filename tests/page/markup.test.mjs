import assert from "node:assert/strict";
import { test } from "node:test";

import { markup } from "../../src/http/page/markup.mjs";
import { vectors } from "./vectors.mjs";

test("markup is found as the terminal finds it", () => {
  for (const { text, blocks } of vectors("markup")) assert.deepEqual(markup(text), blocks, text);
});

test("no text makes the markup slow", () => {
  const hostile = ["`", "*a ", "a_ _", "`a``a", "```\n", "a@", "www.", "http://", "https://x.y/))", "> ", "- ", "**a *b ***c ", "a\n", "0@a."];
  for (const part of hostile) {
    const text = part.repeat(200_000 / part.length);
    const began = performance.now();
    markup(text);
    assert.ok(performance.now() - began < 5000, part);
  }
});
