/**
 * Whether what is shown is still true. The proof is a heartbeat whose `complete_as_of` has moved on: a socket that is
 * open, even one on which bytes arrive, proves nothing.
 */
export class Liveness {
  #intervalMs = 10_000;
  #provenAt: number | null = null;
  #heardAt: number | null = null;
  #completeAsOf: string | null = null;

  get intervalMs(): number {
    return this.#intervalMs;
  }

  /** The instant that the last heartbeat named. */
  get completeAsOf(): string | null {
    return this.#completeAsOf;
  }

  setInterval(ms: number): void {
    if (ms > 0) this.#intervalMs = ms;
  }

  /** Any sign of the relay, at this time by this machine's clock. */
  heard(now: number): void {
    this.#heardAt = now;
  }

  /** Something that is known to be the present state arrived: a snapshot, or a heartbeat. */
  proven(now: number, completeAsOf?: string): void {
    if (completeAsOf !== undefined) {
      if (completeAsOf === this.#completeAsOf) return;
      this.#completeAsOf = completeAsOf;
    }
    this.#provenAt = now;
  }

  /** Since when what is shown is out of date; null while it is not, or while nothing is shown yet. */
  staleSince(now: number): string | null {
    if (this.#provenAt === null || now - this.#provenAt <= 2 * this.#intervalMs) return null;
    return this.#completeAsOf ?? new Date(this.#provenAt).toISOString();
  }

  /** Whether an open connection must be taken for dead: nothing at all was heard on it. */
  isSilent(now: number): boolean {
    return this.#heardAt !== null && now - this.#heardAt > 2.5 * this.#intervalMs;
  }

  /** Whether the machine slept: the watch, which looks every second, did not look for longer than it should. */
  static slept(lookedAt: number, now: number): boolean {
    return now - lookedAt > 20_000;
  }
}
