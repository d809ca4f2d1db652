// When to come back: how long to wait before the next attempt to connect, and
// what a close code says about it.

const SHORTEST = 100;
const LONGEST = 15_000;
const LONGEST_DRAIN = 300_000;

/**
 * Waits in milliseconds that grow with every failure, and differ from page to
 * page: those who lost one server at one moment do not all return at one moment.
 */
export class Backoff {
  #failures = 0;
  #random;

  constructor(random = Math.random) {
    this.#random = random;
  }

  /** Between 0.1 s and a bound that is 0.2 s at first and doubles up to 15 s. */
  next() {
    this.#failures += 1;
    const bound = Math.min(SHORTEST * 2 ** this.#failures, LONGEST);
    return SHORTEST + (bound - SHORTEST) * this.#random();
  }

  /** The attempts have led to something: the next failure is the first. */
  startOver() {
    this.#failures = 0;
  }
}

/** Whether a server that closes so wants no more of this page. */
export function isFinal(code) {
  return (
    [1000, 1002, 1003].includes(code) || (code >= 1007 && code <= 1010) || (code >= 4500 && code <= 4999)
  );
}

/** How long a server that goes away asks to be left alone, in milliseconds. */
export function askedWait(code, reason) {
  const number = code === 4003 ? /\d+/.exec(reason) : null;
  return number && Math.min(Math.max(Number(number[0]), 10), LONGEST_DRAIN);
}
