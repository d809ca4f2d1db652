// Parses typed text: a message, a command, or the beginning of one.

import { COMMANDS } from "./commands.mjs";

const NAME = /^[\p{L}\p{N}][\p{L}\p{N}\p{M}._-]*$|^[._-][\p{L}\p{N}\p{M}._-]*$/u;
const ROOM = /^#?[a-z0-9_][a-z0-9._-]{0,63}$/i;
const SECRET = /^[!-~]{16,128}$/;
/** How much of a word that is no command is shown. */
const MAX_WORD = 32;

const DURATION = /^(?=\d{1,5}[smhd]$)0*[1-9]\d*[smhd]$/;

/** Whether the server may accept a text as a name. The server checks more, and decides. */
export function isName(text) {
  return NAME.test(text) && [...text.normalize("NFC")].length <= 32;
}

/** Whether a text is a room as people type it: `tea`, or `#tea`. */
export function isRoom(text) {
  return ROOM.test(text);
}

/** The name of a typed room. */
export function roomName(text) {
  return text.replace("#", "").toLowerCase();
}

/** How badly a name fits a query; undefined if it lacks its letters in their order. */
function misfit(name, query) {
  const at = name.indexOf(query);
  if (at === 0) return name === query ? 0 : 1;
  if (at > 0) return /[\p{L}\p{N}]/u.test(name[at - 1]) ? 3 : 2;
  let least;
  for (let first = name.indexOf(query[0]); first >= 0; first = name.indexOf(query[0], first + 1)) {
    let last = first;
    for (const letter of query.slice(1)) last = last < 0 ? last : name.indexOf(letter, last + 1);
    if (last >= 0) least = Math.min(least ?? Infinity, 3 + last - first);
  }
  return least;
}

/**
 * Those of `all` whose name has the letters of a query in their order: the best first.
 * A beginning is better than a word inside, and near letters are better than far ones.
 */
export function bestFits(all, nameOf, query) {
  const fold = (text) => text.normalize("NFC").toLowerCase();
  const found = all.map((one) => [one, misfit(fold(nameOf(one)), fold(query))]);
  return found.filter(([, bad]) => bad !== undefined).sort(([, one], [, other]) => one - other).map(([one]) => one);
}

export function isSecret(text) {
  return SECRET.test(text);
}

/** The token of an invitation in a typed text: a whole URL, its end, or the token alone. */
export function invitationIn(text) {
  return /(?:#invite=|^)([\w-]{22})$/.exec(text.trim())?.[1];
}

const LINE_END = /[\n\r\v\f\u0085\u2028\u2029]/;
const MADE_SECRET = /(?<!\S)random128_[\w-]{22}(?!\S)/;

/** Signs and blanks, something like a slash, and a command that takes a secret. */
const SECRET_COMMAND = /^[^\p{L}\p{N}]*[/\u2044\u2215\u29f8\u2571]\s*(operator|name|nick|link)\s+(.*)$/iu;

/** Whether a text looks like a command with a secret, with something before its slash. */
export function hasSecret(text) {
  const shown = (line) => line.replace(/(?!\s)[\p{Default_Ignorable_Code_Point}\p{Cc}]/gu, "").normalize("NFKC");
  return MADE_SECRET.test(text) || text.split(LINE_END).some((line) => {
    const [, word, rest] = SECRET_COMMAND.exec(shown(line)) ?? [];
    const [first, second] = rest?.trim().split(/\s+/) ?? [];
    if (!first) return false;
    if (/^(name|nick)$/i.test(word)) return SECRET.test(second);
    // A single word is taken for a mistyped secret of the operators.
    return SECRET.test(first) || (word.toLowerCase() === "operator" && second === undefined);
  });
}

/**
 * Parses a text, and refuses to publish what looks like a command with a secret.
 * The results are those of `parseText`.
 */
export function parse(text) {
  const found = parseText(text);
  const said = found?.act === "reply" ? found.text : found?.command?.text;
  if (!said || !hasSecret(said)) return found;
  return { wrong: "This looks like a command with a secret, so it is not published: a command begins with its slash." };
}

/**
 * Parses a text: `null` is nothing, `{ command }` is for the server,
 * `{ act, ... }` is for the page itself, `{ wrong }` has a sentence for the user.
 */
function parseText(text) {
  if (!text.trim()) return null;
  if (!text.startsWith("/")) return { command: { type: "publish", text } };
  if (text.startsWith("//")) return { command: { type: "publish", text: text.slice(1) } };
  const [, word, rest] = /^(\S+)\s*([^]*)$/.exec(text);
  const known = COMMANDS.find(([command, , , aliases]) => command === word || aliases.includes(word));
  if (!known) {
    const shown = word.slice(0, MAX_WORD);
    return { wrong: `No such command: ${shown}. Did you mean ${nearest(shown)}? /help lists them, and // begins a text that begins with a slash.` };
  }
  return parseArguments(known[0], rest.trim()) ?? { wrong: `Usage: ${known[0]} ${known[1]}` };
}

/** The command most like a word that is none. */
function nearest(word) {
  const words = COMMANDS.flatMap(([command, , , aliases]) => [command, ...aliases]);
  const distances = words.map((known) => distance(word, known));
  return words[distances.indexOf(Math.min(...distances))];
}

/** How many letters to change, add, drop or swap with their neighbour. */
function distance(one, other) {
  const rows = [Array.from({ length: other.length + 1 }, (_, at) => at)];
  for (let i = 1; i <= one.length; i += 1) {
    rows.push([i]);
    for (let j = 1; j <= other.length; j += 1) {
      const changed = rows[i - 1][j - 1] + Number(one[i - 1] !== other[j - 1]);
      const swapped = one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1] ? rows[i - 2][j - 2] + 1 : Infinity;
      rows[i].push(Math.min(changed, swapped, rows[i - 1][j] + 1, rows[i][j - 1] + 1));
    }
  }
  return rows[one.length][other.length];
}

/** Parses `/invite 5 2d`, in any order and each optional, or `/invite TOKEN`. */
function parseInvite(rest) {
  const token = invitationIn(rest);
  if (token) return { command: { type: "invite", token } };
  const words = rest.split(/\s+/).filter(Boolean);
  const uses = words.filter(isNumber).map(Number);
  const times = words.filter((word) => DURATION.test(word));
  if (uses.length > 1 || times.length > 1 || uses.length + times.length < words.length) return null;
  return { command: { type: "invite", ...(uses.length && { uses: uses[0] }), ...(times.length && { for: times[0] }) } };
}

/** Parses the arguments of a command; `null` if they do not fit. */
function parseArguments(word, rest) {
  const [first, after] = splitWord(rest);
  const [second, last] = splitWord(after);
  const duration = DURATION.test(second) ? { for: second } : {};
  switch (word) {
    case "/name":
      if (rest === "--show") return { act: "show", panel: "you" };
      if (!isName(first) || (after && !SECRET.test(after))) return null;
      return { command: { type: "name", name: first, ...(after && { secret: after }) } };
    case "/join":
      return isRoom(rest) ? { act: "go", room: roomName(rest) } : null;
    case "/part":
      return { act: "go", room: "lobby" };
    case "/me":
      return rest ? { command: { type: "publish", text: rest, kind: "me" } } : null;
    case "/reply":
    case "/react":
    case "/unreact":
    case "/edit": {
      const about = isNumber(first) && after ? Number(first) : undefined;
      const text = about === undefined ? rest : after;
      return text ? { command: { type: "publish", ...(about !== undefined && { about }), kind: word.slice(1), text } } : null;
    }
    case "/delete":
      if (rest && !isNumber(rest)) return null;
      return { act: "delete", ...(rest && { seq: Number(rest) }) };
    case "/msg":
      if (!isName(first)) return null;
      return after ? { command: { type: "private", to: first, text: after } } : { act: "talk", name: first };
    case "/r":
      return rest ? { act: "reply", text: rest } : null;
    case "/inbox":
      if (rest && !(isNumber(rest) && Number(rest) > 0)) return null;
      return { command: { type: "inbox", ...(rest && { limit: Number(rest) }) } };
    case "/ignore":
      if (rest && !isName(rest)) return null;
      return { command: { type: "ignore", ...(rest && { name: rest }) } };
    case "/unignore":
      return isName(rest) ? { command: { type: "unignore", name: rest } } : null;
    case "/members":
      return { act: "show", panel: "people" };
    case "/rooms":
      return { act: "show", panel: "rooms" };
    case "/help":
      return { act: "show", panel: "help" };
    case "/search":
      return { act: "search", query: rest };
    case "/private":
    case "/public":
      return { command: { type: "access", private: word === "/private" } };
    case "/invite":
      return parseInvite(rest);
    case "/link":
      return !rest || SECRET.test(rest) ? { command: { type: "link", ...(rest && { secret: rest }) } } : null;
    case "/uninvite":
      return isNumber(rest) ? { command: { type: "uninvite", id: Number(rest) } } : null;
    case "/remove":
    case "/owner":
    case "/release":
    case "/hook":
    case "/unhook":
      return isName(rest) ? { command: { type: word.slice(1), name: rest } } : null;
    case "/notify":
      return ["all", "mentions", "none"].includes(rest) ? { command: { type: "follow", level: rest } } : null;
    case "/unfollow":
      if (rest && !isRoom(rest)) return null;
      return { command: { type: "unfollow", ...(rest && { room: roomName(rest) }) } };
    case "/invites":
    case "/hooks":
    case "/bans":
      return { command: { type: word.slice(1) } };
    case "/topic":
      return { command: { type: "topic", ...(rest && { text: rest === "-" ? "" : rest }) } };
    case "/erase":
      return isNumber(rest) ? { command: { type: "erase", seq: Number(rest) } } : null;
    case "/operator":
      return rest ? { command: { type: "operator", secret: rest } } : null;
    case "/kick":
      return first ? { command: { type: "kick", who: first, ...(after && { reason: after }) } } : null;
    case "/ban": {
      const why = duration.for ? last : after;
      return first ? { command: { type: "ban", who: first, ...duration, ...(why && { reason: why }) } } : null;
    }
    case "/mute":
      return first && (!after || DURATION.test(after)) ? { command: { type: "mute", who: first, ...duration } } : null;
    default:
      return first ? { command: { type: word.slice(1), who: first } } : null;
  }
}

/** Whether a text is a number that JavaScript represents exactly. */
function isNumber(text) {
  return /^\d+$/.test(text) && Number.isSafeInteger(Number(text));
}

/** The first word, and the text after it. */
function splitWord(text) {
  const [, first, rest] = /^(\S*)\s*([^]*)$/.exec(text);
  return [first, rest];
}

/** The most completions offered. */
const MAX_OFFERED = 6;

/**
 * The completions of the word before the caret: where the word starts, and the
 * candidates, each with a description. `whole`: the word is a command already.
 * `names` are people, `rooms` rooms.
 */
export function completions(text, caret, { names, rooms }) {
  const before = text.slice(0, caret);
  const [, head, word] = /^([^]*?)(\S*)$/.exec(before);
  const from = head.length;
  const offer = (words, begin = word, end = " ") =>
    words
      .filter(([full]) => full.toLowerCase().startsWith(begin.toLowerCase()) && full !== begin)
      .slice(0, MAX_OFFERED)
      .map(([full, about]) => ({ text: full + end, label: full, about }));
  const people = (mark) => names.map((name) => [mark + name, ""]);
  let items = [];
  let whole = false;
  if (from === 0 && word.startsWith("/") && !word.startsWith("//")) {
    whole = COMMANDS.some(([command, , , aliases]) => command === word || aliases.includes(word));
    items = offer(COMMANDS.map(([command, form, about]) => [command, `${form} ${about}`.trim()]));
  } else if (/^\/join\s+$/.test(head)) {
    const mark = word.startsWith("#") ? "#" : "";
    items = offer(rooms.map((room) => [mark + room, ""]));
  } else if (/^\/(msg|w|query|ignore|unignore|remove|owner|release|kick|ban|unban|mute|unmute)\s+$/.test(head)) {
    items = offer(people(""));
  } else if (word.startsWith("@")) {
    items = offer(people("@"));
  }
  return { from, items, whole };
}
