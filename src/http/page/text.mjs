// Links, mentions and lengths of texts, and dates for people.

const LINK = new RegExp(
  [
    "https?://[^\\s<>\"'`\\u{fffd}]+",
    "(?<![\\p{L}\\p{N}.@/_-])www\\.[\\p{L}\\p{N}][^\\s<>\"'`\\u{fffd}]*",
    // A mail address; `git@host.example:path` is none.
    "(?<![\\p{L}\\p{N}._+/:-])[a-z0-9][a-z0-9._+-]*@(?:[a-z0-9-]+\\.)+[a-z]{2,}(?![\\p{L}\\p{N}@_-]|[.:/]\\S)",
  ].join("|"),
  "giu",
);
const OPENING = { ")": "(", "]": "[", "}": "{" };

/** A link without the punctuation that ends the sentence around it. */
function withoutPunctuation(link) {
  const counts = {};
  for (const letter of link) counts[letter] = (counts[letter] ?? 0) + 1;
  for (let end = link.length; ; end -= 1) {
    const last = link[end - 1];
    const isOpened = counts[OPENING[last]] >= counts[last];
    if (!/[.,;:!?)\]}*_~…»”’]/.test(last) || isOpened) return link.slice(0, end);
    counts[last] -= 1;
  }
}

/** The target of a link; none if it may not be followed: it needs a host, and no user name or password. */
function target(link) {
  if (/^[\w.+-]+@[\w.-]+$/.test(link)) return `mailto:${link}`;
  const href = /^www\./i.test(link) ? `https://${link}` : link;
  try {
    const url = new URL(href);
    return /^https?:$/.test(url.protocol) && !url.username && !url.password ? href : undefined;
  } catch {
    return undefined;
  }
}

/** The parts of a text in order: `{ text }`, and for a link also `href`, `undefined` if it may not be followed. */
export function splitLinks(text) {
  const found = [];
  let from = 0;
  for (const { 0: whole, index } of text.matchAll(LINK)) {
    const link = withoutPunctuation(whole);
    if (index > from) found.push({ text: text.slice(from, index) });
    found.push({ text: link, href: target(link) });
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

/** The places of the words of a search in a text: `[from, to]` of each, in order. */
export function findWords(text, query) {
  const fold = (part) => part.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const words = fold(query).match(/[\p{L}\p{N}]+/gu);
  if (!words) return [];
  let folded = "";
  /** The place of each folded letter in the text. */
  const places = [];
  let at = 0;
  for (const letter of text) {
    const plain = fold(letter);
    for (let unit = 0; unit < plain.length; unit += 1) places.push(at);
    folded += plain;
    at += letter.length;
  }
  places.push(at);
  // Scripts without spaces have no beginnings of words.
  const begins = "(?<![\\p{Script=Latin}\\p{Script=Cyrillic}\\p{Script=Greek}\\p{N}])";
  const longestFirst = words.sort((a, b) => b.length - a.length).join("|");
  return [...folded.matchAll(new RegExp(`${begins}(?:${longestFirst})`, "gu"))].map(({ 0: word, index }) => [
    places[index],
    places[index + word.length],
  ]);
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
