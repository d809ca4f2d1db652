// How long to wait before the next attempt to connect: by the number of failures,
// and by the server's close code.

const SHORTEST = 100;
const LONGEST = 15_000;
const LONGEST_DRAIN = 300_000;

/**
 * Waits in milliseconds that grow with every failure. They differ from page to
 * page, so that pages which lost one server together do not return together.
 */
export class Backoff {
  #failures = 0;
  #random;

  constructor(random = Math.random) {
    this.#random = random;
  }

  /** The next wait: between 0.1 s and a bound, 0.2 s at first, which doubles up to 15 s. */
  next() {
    this.#failures += 1;
    const bound = Math.min(SHORTEST * 2 ** this.#failures, LONGEST);
    return SHORTEST + (bound - SHORTEST) * this.#random();
  }

  /** Counts failures from zero again, after a connection that worked. */
  startOver() {
    this.#failures = 0;
  }
}

/** Whether a close code means that the page must not connect again. */
export function isFinal(code) {
  return (
    [1000, 1002, 1003].includes(code) || (code >= 1007 && code <= 1010) || (code >= 4500 && code <= 4999)
  );
}

/** The reconnect delay that a server asks for, in milliseconds; `null` if it asks for none. */
export function reconnectDelay(code, reason) {
  const number = code === 4003 ? /\d+/.exec(reason) : null;
  return number && Math.min(Math.max(Number(number[0]), 10), LONGEST_DRAIN);
}
