// Finds the markup of a text: code, quotes, lists, emphasis and links. The terminal
// client has the same rules (`protocol/markup.rs`), and `tests/vectors/markup.json`
// tests both. No text makes a step read it more than a few times.

import { splitLinks } from "./text.mjs";

const FENCE = /^ {0,3}(`{3,})[^`]*$/;
const CLOSING = /^ {0,3}(`{3,})\s*$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)]) +(?=\S)/;

/** The deepest level of a list item, of two spaces each. */
const MAX_LEVEL = 4;

/** What may stand before and after the mark that begins emphasis, and the mark that ends it. */
const BEGINS_BEFORE = /[^\s.,;:!?)\]}/]/;
const ENDS_AFTER = /[^\s([{/]/;
const BEGINS_AFTER = /^$|^[\s([{"'*_]$|^[^\p{ASCII}]$/u;
const ENDS_BEFORE = /^$|^[\s.,;:!?)\]}"'*_-]$|^[^\p{ASCII}]$/u;

/**
 * The blocks of a text in order. `code` has its `text`; `text`, `quote` and `item`
 * have `pieces`, and an item also its `level` and `mark`.
 */
export function markup(text) {
  const lines = text.split("\n");
  const blocks = [];
  // A fence without an end is text, and so is every longer one after it.
  let unclosed = Infinity;
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at];
    const fence = FENCE.exec(line)?.[1].length ?? Infinity;
    if (fence < unclosed) {
      let end = at + 1;
      while (end < lines.length && !(CLOSING.exec(lines[end])?.[1].length >= fence)) end += 1;
      if (end < lines.length) {
        blocks.push({ kind: "code", text: lines.slice(at + 1, end).join("\n") });
        at = end;
        continue;
      }
      unclosed = fence;
    }
    const item = ITEM.exec(line);
    if (item) {
      const [{ length }, { length: spaces }, mark] = item;
      const level = Math.min(MAX_LEVEL, spaces >> 1);
      blocks.push({ kind: "item", level, mark: /\d/.test(mark) ? mark : "•", pieces: inline(line.slice(length)) });
      continue;
    }
    const isQuote = line === ">" || line.startsWith("> ");
    const kind = isQuote ? "quote" : "text";
    const pieces = inline(isQuote ? line.slice(2) : line);
    const last = blocks.at(-1);
    if (last?.kind === kind) last.pieces.push({ text: "\n" }, ...pieces);
    else blocks.push({ kind, pieces });
  }
  return blocks;
}

/** The pieces of a line: `{ text, bold?, italic?, code?, href? }`. */
function inline(line) {
  if (!/[`*_.@:]/.test(line)) return line ? [{ text: line }] : [];
  const parts = splitCode(line).flatMap((part) => (part.code ? [part] : splitMarks(line, part)));
  pairMarks(parts);
  const open = { bold: 0, italic: 0 };
  const pieces = [];
  let isJoinable = false;
  for (const part of parts) {
    const { text, code, href, turn } = part;
    if (turn) {
      if (text.length > 1) open.bold += turn;
      if (text.length !== 2) open.italic += turn;
      isJoinable = false;
    } else if (text) {
      const isText = !code && !("href" in part);
      if (isText && isJoinable) pieces.at(-1).text += text;
      else pieces.push({ text, ...(open.bold && { bold: true }), ...(open.italic && { italic: true }), ...(code && { code }), ...(href && { href }) });
      isJoinable = isText;
    }
  }
  return pieces;
}

/** Splits a line at its code: `{ text, code }`, and between them `{ text, at }`. */
function splitCode(line) {
  const fences = [...line.matchAll(/`+/g)];
  const parts = [];
  let from = 0;
  for (let first = 0; first < fences.length; first += 1) {
    const [fence] = fences[first];
    let last = first + 1;
    while (last < fences.length && fences[last][0] !== fence) last += 1;
    if (last === fences.length) continue;
    const { index } = fences[first];
    const code = line.slice(index + fence.length, fences[last].index);
    // The blanks let code begin or end with a backtick.
    const isPadded = /^ .*[^ ].* $/.test(code);
    parts.push({ text: line.slice(from, index), at: from }, { text: isPadded ? code.slice(1, -1) : code, code: true });
    from = fences[last].index + fence.length;
    first = last;
  }
  parts.push({ text: line.slice(from), at: from });
  return parts;
}

/** Splits a part at its links, and at the marks that may begin or end emphasis. */
function splitMarks(line, { text: whole, at }) {
  const parts = [];
  let begin = at;
  for (const part of splitLinks(whole)) {
    const { text } = part;
    let from = 0;
    for (const { 0: mark, index } of "href" in part ? [] : text.matchAll(/\*+|_+/g)) {
      const end = index + mark.length;
      const before = line.slice(0, begin + index).slice(-2);
      const after = line.slice(begin + end, begin + end + 2);
      const { begins, ends } = sides(mark, /.?$/su.exec(before)[0], /^.?/su.exec(after)[0]);
      if (!begins && !ends) continue;
      parts.push({ text: text.slice(from, index) }, { text: mark, begins, ends });
      from = end;
    }
    parts.push({ ...part, text: text.slice(from) });
    begin += text.length;
  }
  return parts;
}

/** Whether a mark may begin emphasis, and whether it may end it. */
function sides(mark, before, after) {
  if (mark.length > (mark[0] === "_" ? 1 : 3)) return {};
  const isJoint = (letter) => mark === "_" && /[\p{L}\p{N}]/u.test(letter);
  return {
    begins: BEGINS_BEFORE.test(after) && BEGINS_AFTER.test(before) && !isJoint(before),
    ends: ENDS_AFTER.test(before) && ENDS_BEFORE.test(after) && !isJoint(after),
  };
}

/** Gives the marks that begin emphasis `turn: 1`, and those that end it `turn: -1`. */
function pairMarks(parts) {
  /** The last mark of each kind that may begin emphasis. */
  const open = new Map();
  for (const part of parts) {
    const { text, begins, ends } = part;
    const opening = ends && open.get(text);
    if (opening) {
      opening.turn = 1;
      part.turn = -1;
      // A mark between the two has no partner outside of them.
      let isInside = false;
      for (const [mark, other] of [...open]) {
        isInside ||= other === opening;
        if (isInside) open.delete(mark);
      }
    } else if (begins) {
      open.delete(text);
      open.set(text, part);
    }
  }
}
