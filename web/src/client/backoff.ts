/** Exponential backoff with full jitter: a crowd that was cut off together does not come back together. */
export class Backoff {
  #attempts = 0;
  #minMs = 500;
  #maxMs = 30_000;
  readonly #random: () => number;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** How many attempts have failed since the last success. */
  get attempts(): number {
    return this.#attempts;
  }

  /** Takes over what the relay asks for; nonsense is ignored. */
  hint(minMs: number, maxMs: number): void {
    if (minMs > 0 && maxMs >= minMs) {
      this.#minMs = minMs;
      this.#maxMs = maxMs;
    }
  }

  /** The wait before the next attempt, in ms. What the relay asked for is already jittered, and is honoured as it is. */
  next(retryAfterMs?: number): number {
    this.#attempts += 1;
    if (retryAfterMs !== undefined && retryAfterMs >= 0) return retryAfterMs;
    const ceiling = Math.min(this.#maxMs, this.#minMs * 2 ** Math.min(this.#attempts, 20));
    return Math.round(this.#random() * ceiling);
  }

  /** To be called once a connection has proven itself, not when it merely opened. */
  reset(): void {
    this.#attempts = 0;
  }
}
