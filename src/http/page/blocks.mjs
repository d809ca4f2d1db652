// Draws the markup of a text as elements.

import { el } from "./dom.mjs";
import { markup } from "./markup.mjs";

/** How many lines of code are shown before the reader unfolds it. */
const FOLDED = 15;

/** How long a button says that it copied, in milliseconds. */
const COPIED_SHOWN = 2000;

/** A link, or its text alone if it may not be followed. */
export function linkElement(href, text) {
  return href ? el("a", { href, rel: "noopener noreferrer", target: "_blank" }, text) : text;
}

/**
 * The elements of a row's text. The row keeps which of its code is unfolded;
 * `resized` is called when that changes.
 */
export function textElements(row, resized) {
  const blocks = markup(row.text);
  if (blocks.length === 1 && blocks[0].kind === "text") return pieceElements(blocks[0].pieces);
  let list;
  return blocks.flatMap(({ kind, text, level, mark, pieces }, index) => {
    if (kind !== "item") list = undefined;
    if (kind === "code") return codeElement(row, index, text, resized);
    if (kind !== "item") return el(kind === "quote" ? "blockquote" : "div", { dir: "auto" }, ...pieceElements(pieces));
    const item = el("li", { class: `l${level}` }, el("span", {}, `${mark} `), el("div", { dir: "auto" }, ...pieceElements(pieces)));
    if (list) list.append(item);
    else return (list = el("ul", { role: "list" }, item));
    return [];
  });
}

function pieceElements(pieces) {
  return pieces.map(({ text, bold, italic, code, href }) => {
    let node = code ? el("code", {}, text) : linkElement(href, text);
    if (italic) node = el("em", {}, node);
    if (bold) node = el("strong", {}, node);
    return node;
  });
}

/** Code with buttons that copy all of it, and unfold it. */
function codeElement(row, index, text, resized) {
  const lines = text.split("\n");
  const code = el("code");
  const copied = el("button", { type: "button", class: "copy", click: () => copy(text, code, copied) }, "Copy");
  const whole = el("div", { class: "code" }, el("pre", { tabindex: "0", "aria-label": "Code" }, code), copied);
  if (lines.length <= FOLDED) {
    code.textContent = text;
    return whole;
  }
  row.unfolded ??= new Set();
  const fold = el("button", { type: "button", class: "fold" });
  const update = () => {
    const isOpen = row.unfolded.has(index);
    code.textContent = isOpen ? text : lines.slice(0, FOLDED).join("\n");
    fold.textContent = isOpen ? `Only the first ${FOLDED} lines` : `All ${lines.length} lines`;
    fold.setAttribute("aria-expanded", isOpen);
  };
  fold.addEventListener("click", () => {
    if (!row.unfolded.delete(index)) row.unfolded.add(index);
    update();
    resized();
  });
  update();
  whole.append(fold);
  return whole;
}

/** Copies a text. `shown` is an element that may show it meanwhile. */
export async function copyText(text, shown) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers give no clipboard to pages loaded over plain HTTP from another host.
    const element = shown ?? document.body.appendChild(el("span"));
    const before = element.textContent;
    element.textContent = text;
    getSelection().selectAllChildren(element);
    document.execCommand("copy");
    getSelection().removeAllRanges();
    if (shown) element.textContent = before;
    else element.remove();
  }
}

async function copy(text, shown, button) {
  await copyText(text, shown);
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), COPIED_SHOWN);
}
