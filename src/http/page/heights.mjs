// The heights of the rows of a long list, measured or guessed. A Fenwick tree of
// their sums finds the position of a row without visiting all rows.

export class Heights {
  #heights = [];
  /** `#sums[i]` is the total height of the `i & -i` rows before row `i`. */
  #sums = [0];

  get length() {
    return this.#heights.length;
  }

  get total() {
    return this.top(this.length);
  }

  get(row) {
    return this.#heights[row];
  }

  insert(row, height) {
    if (row === this.length) this.push(height);
    else this.reset(this.#heights.toSpliced(row, 0, height));
  }

  push(height) {
    this.#heights.push(height);
    const end = this.#heights.length;
    let sum = height;
    for (let step = 1; step < (end & -end); step *= 2) sum += this.#sums[end - step];
    this.#sums.push(sum);
  }

  set(row, height) {
    const more = height - this.#heights[row];
    this.#heights[row] = height;
    for (let at = row + 1; at <= this.length; at += at & -at) this.#sums[at] += more;
  }

  /** Replaces all heights, for a change anywhere but at the end. */
  reset(heights) {
    this.#heights = [];
    this.#sums = [0];
    for (const height of heights) this.push(height);
  }

  unshift(heights) {
    this.reset([...heights, ...this.#heights]);
  }

  dropFirst(count) {
    this.reset(this.#heights.slice(count));
  }

  /** The total height of the rows before a row; for `length`, of all rows. */
  top(row) {
    let sum = 0;
    for (let at = row; at > 0; at -= at & -at) sum += this.#sums[at];
    return sum;
  }

  /** The row at a distance from the top; the nearest row if that is outside the list. */
  at(y) {
    let row = 0;
    let step = 1;
    while (step * 2 <= this.length) step *= 2;
    for (; step >= 1; step /= 2) {
      if (row + step <= this.length && this.#sums[row + step] <= y) {
        row += step;
        y -= this.#sums[row];
      }
    }
    return Math.max(0, Math.min(row, this.length - 1));
  }
}
