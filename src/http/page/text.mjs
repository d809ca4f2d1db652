// Links, mentions and lengths of texts, and dates for people.

const LINK = /https?:\/\/[^\s<>"'`\u{fffd}]+/giu;

/** A link without the punctuation that ends the sentence around it. */
function withoutPunctuation(link) {
  for (;;) {
    const last = link.at(-1);
    const opened = { ")": "(", "]": "[", "}": "{" }[last];
    const open = opened && link.split(opened).length >= link.split(last).length;
    if (!/[.,;:!?)\]}*_~…»”’]/.test(last) || open) return link;
    link = link.slice(0, -1);
  }
}

/** Whether a link may be followed: it has a host, and no user name or password. */
function isSafeLink(link) {
  try {
    const url = new URL(link);
    return /^https?:$/.test(url.protocol) && !url.username && !url.password;
  } catch {
    return false;
  }
}

/** The parts of a text in order: `{ text }`, and for a link also `href`. */
export function splitLinks(text) {
  const found = [];
  let from = 0;
  for (const { 0: whole, index } of text.matchAll(LINK)) {
    const link = withoutPunctuation(whole);
    if (!isSafeLink(link)) continue;
    if (index > from) found.push({ text: text.slice(from, index) });
    found.push({ text: link, href: link });
    from = index + link.length;
  }
  if (from < text.length || !found.length) found.push({ text: text.slice(from) });
  return found;
}

/**
 * Whether a text has a name as a word of its own. Full stops and hyphens around
 * the name belong to the sentence, unless they are part of a longer name.
 */
export function mentions(text, name) {
  if (!name) return false;
  const letters = name.replace(/[.]/g, "\\$&");
  const part = "[\\p{L}\\p{N}\\p{M}_]";
  return new RegExp(`${letters}(?<!${part}[.-]*${letters})(?![.-]*${part})`, "iu").test(text);
}

/**
 * The key by which the page compares names: their letters, in lower case. Names
 * with equal keys are one name to the server. The server also knows which letters
 * look alike, and decides.
 */
export function nameKey(name) {
  return name.normalize("NFC").toLowerCase();
}

/** How many bytes of UTF-8 a text has. */
export function byteLength(text) {
  return new TextEncoder().encode(text).length;
}

/** Cuts a text to `max` letters. */
export function truncate(text, max) {
  return text.length > max ? `${text.slice(0, max).trimEnd()}…` : text;
}

const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const WHOLE = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** The local day of a moment, as a number that differs between days. */
export function dayOf(at) {
  const date = new Date(at);
  return (date.getFullYear() * 16 + date.getMonth()) * 32 + date.getDate();
}

/** The name of a moment's day, such as "Today". */
export function dayName(at, now = Date.now()) {
  const today = dayOf(now);
  if (dayOf(at) === today) return "Today";
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  if (dayOf(at) === dayOf(yesterday)) return "Yesterday";
  const sameYear = new Date(at).getFullYear() === new Date(now).getFullYear();
  return (sameYear ? DAY : YEAR).format(at);
}

/** The local time of a moment: hours and minutes. */
export function clockTime(at) {
  return CLOCK.format(at);
}

/** A moment in full. */
export function wholeTime(at) {
  return WHOLE.format(at);
}
