/** How long a relay that says it is live may go without a look at its database, in ms: it need not look while it is quiet. */
const QUIET_MS = 15_000;

/**
 * Whether what is shown is still true. The proof is a heartbeat: one whose `complete_as_of` has moved on, or one of a
 * relay that is live and has looked not long ago. A socket that is open, even one on which bytes arrive, proves nothing.
 */
export class Liveness {
  #intervalMs = 10_000;
  #provenAt: number | null = null;
  #heardAt: number | null = null;
  #completeAsOf: string | null = null;
  #isFarBehind = false;

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

  /** The present state arrived. */
  snapshot(now: number): void {
    this.#provenAt = now;
  }

  /** A heartbeat arrived; `isLive` is what the relay says of itself. */
  heartbeat(now: number, completeAsOf: string, lagMs: number, isLive: boolean): void {
    this.#isFarBehind = lagMs > Math.max(QUIET_MS, 2 * this.#intervalMs);
    if (isLive || completeAsOf !== this.#completeAsOf) this.#provenAt = now;
    this.#completeAsOf = completeAsOf;
  }

  /** Since when what is shown is out of date; null while it is not, or while nothing is shown yet. */
  staleSince(now: number): string | null {
    if (this.#provenAt === null) return null;
    if (!this.#isFarBehind && now - this.#provenAt <= 2 * this.#intervalMs) return null;
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
