// Where each row of a long list stands, known or guessed, without looking at
// all of them: sums in a Fenwick tree.

export class Heights {
  #heights = [];
  /** `#sums[i]` is the height of the rows before row `i`, as far back as its lowest bit says. */
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

  /** Replaces all of them: rows came or went at the beginning. */
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

  /** Where a row begins; of the row after the last, where all end. */
  top(row) {
    let sum = 0;
    for (let at = row; at > 0; at -= at & -at) sum += this.#sums[at];
    return sum;
  }

  /** The row at a height; the first or the last one where it is beyond. */
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
