// Draws one row of the log.

import { linkElement, textElements } from "./blocks.mjs";
import { el } from "./dom.mjs";
import { clockTime, dayName, mentions, nameKey, splitLinks, wholeTime } from "./text.mjs";

/** How many colours names have. */
const COLOURS = 8;

/** The colour of a name: the same name always has the same colour. */
function colour(name) {
  let sum = 0x811c9dc5;
  for (const letter of nameKey(name)) sum = Math.imul(sum ^ letter.codePointAt(0), 0x01000193);
  return (sum >>> 13) % COLOURS;
}

/** The parts of a text, with its links as elements. */
export function linked(text) {
  return splitLinks(text).map(({ text: part, href }) => linkElement(href, part));
}

/** Whether a name is the tag of a person without one: an address, or `guest-` and letters. */
export function isTag(name) {
  return name.includes(":") || name.startsWith("guest-");
}

/** How a person is called: an address, which no name can be, is a guest with its port. */
export function shownName(name) {
  return name.includes(":") ? `guest ${name.slice(name.lastIndexOf(":") + 1)}` : name;
}

/** A name, or a tag. `unverified`: nobody owns the name. */
export function nameElement(name, unverified) {
  const [kind, title] = isTag(name)
    ? ["guest", shownName(name) === name ? "This person has no name." : `${name} has no name.`]
    : unverified ? ["unverified", "Nobody owns this name: anyone may use it."] : [];
  return el("bdi", { class: `who c${colour(name)}${kind ? ` ${kind}` : ""}`, title }, shownName(name));
}

export function timeElement(at, seq) {
  const iso = new Date(at).toISOString();
  const title = seq ? `${wholeTime(at)} · number ${seq}` : wholeTime(at);
  return el("time", { datetime: iso, title }, clockTime(at));
}

/**
 * Draws the element of a row. `continues`: it continues the same person's
 * messages. `day`: it begins a day. `firstUnseen`: it is the first unseen row.
 * `own`: it is the user's own. `me` is the user's name. `resized` is called when
 * the reader changes its height, `goTo` to show another message, `react` to react,
 * `talk` with the name of a person to answer privately.
 */
export function drawRow(row, { continues, day, firstUnseen, own, me, resized, goTo, react, talk }) {
  const item = el("li", { class: `row ${row.kind}` });
  if (row.seq) item.dataset.seq = row.seq;
  if (day) item.append(el("div", { class: "day" }, el("span", {}, dayName(row.at))));
  if (firstUnseen) item.append(el("div", { class: "fresh" }, el("span", {}, "New")));
  item.append(row.kind === "note" ? note(row) : message(row, { continues, own, me, resized, goTo, react, talk }));
  return item;
}

/** A note of the page or the server. */
function note(row) {
  const link = row.href ? [" ", el("a", { href: row.href }, row.link)] : [];
  return el("p", { class: "text", dir: "auto" }, row.text, ...link);
}

function message(row, { continues, own, me, resized, goTo, react, talk }) {
  const isNamed = !own && mentions(row.text, me);
  const kind = [continues && "on", own && "own", isNamed && "named"].filter(Boolean).join(" ");
  const text = el("div", { class: "text", dir: "auto" });
  const about = el("div", { class: "about" });
  if (row.kind === "me") {
    text.append(nameElement(row.who, row.unverified), " ", ...textElements(row, resized), ...editedMark(row), " ", timeElement(row.at, row.seq));
  } else {
    const to = row.kind === "private" ? [el("span", { class: "to" }, "to ", el("bdi", {}, row.to), " only")] : [];
    // Of a message that was erased before, nobody knows the author and the time.
    if (row.kind !== "erased" || row.who) about.append(nameElement(row.who, row.unverified), ...to, " ", timeElement(row.at, row.seq));
    text.append(...(row.kind === "erased" ? ["erased"] : [...textElements(row, resized), ...editedMark(row)]));
  }
  const other = own ? row.to : row.who;
  const answer = row.kind === "private" && talk
    ? [el("button", { type: "button", class: "answer", click: () => talk(other) }, "Reply privately")]
    : [];
  const receipt = own && row.kind !== "erased" ? [receiptMark("stored")] : [];
  const canHaveMore = row.seq && row.kind !== "erased" && row.kind !== "private";
  const more = canHaveMore ? [el("button", { type: "button", class: "more", "aria-label": "More", "aria-haspopup": "menu" }, "⋯")] : [];
  const parts = [...(row.kind === "me" ? [] : [about]), ...quoteLine(row, goTo), text, ...answer, ...reactionList(row, me, react)];
  return el("div", { class: `message ${kind}` }, ...parts, ...receipt, ...more);
}

/** The quoted line of a reply, which leads to the quoted message. */
function quoteLine({ about, quote }, goTo) {
  if (!quote) return [];
  const label = [el("bdi", {}, shownName(quote.from.name ?? quote.from.addr)), ": ", el("bdi", {}, quote.text)];
  return [el("button", { type: "button", class: "quote", click: () => goTo(about) }, ...label)];
}

function editedMark({ edited }) {
  return edited ? [" ", el("span", { class: "edited", title: wholeTime(edited) }, "(edited)")] : [];
}

/** The reactions to a message: each with its count, and on the pointer the names. */
function reactionList({ seq, reactions }, me, react) {
  if (!reactions?.length) return [];
  const buttons = reactions.map(({ text, count, names }) => {
    const own = names.includes(me);
    const others = count > names.length ? ` and ${count - names.length} more` : "";
    const title = `${names.join(", ")}${others}`;
    const click = () => react(seq, text, own);
    const label = `${text}, ${count}: ${title}`;
    return el("button", { type: "button", title, "aria-label": label, "aria-pressed": String(own), click }, el("bdi", {}, text), ` ${count}`);
  });
  return [el("div", { class: "reactions" }, ...buttons)];
}

/** The mark that says whether an own message is stored. */
function receiptMark(label) {
  return el("span", { class: "receipt", role: "img", "aria-label": label, title: label });
}

/** Draws an own message that has no receipt yet. */
export function drawUnconfirmed({ id, text, to, kind }) {
  const about = to ? [el("div", { class: "about" }, el("span", { class: "to" }, "to ", el("bdi", {}, to), " only"))] : [];
  const line = el("div", { class: `text${kind === "me" ? " doing" : ""}`, dir: "auto" }, ...textElements({ text }, () => {}));
  const item = el("li", { class: "row unsent" }, el("div", { class: "message own" }, ...about, line, receiptMark("not stored yet")));
  item.dataset.id = id;
  if (to) item.dataset.to = to;
  item.dataset.words = text;
  // As it is typed: words for one person must not become words for all.
  item.dataset.typed = to ? `/msg ${to} ${text}` : kind === "me" ? `/me ${text}` : text.replace(/^\//, "//");
  return item;
}

/** Marks an own message as refused; `takeBack` is called when the user wants its text back. */
export function markRefused(element, why, takeBack) {
  const click = () => {
    element.remove();
    takeBack();
  };
  element.classList.add("refused");
  element.firstChild.append(el("p", { class: "why" }, `Not sent: ${why} `, el("button", { type: "button", click }, "Edit")));
}
