/**
 * Rows by their key, newest revision only. Copied when written after it was handed out, so that what a reader holds
 * never changes under it and quiet collections cost nothing.
 */
export class Collection<K, V extends { readonly revision: number }> {
  #rows = new Map<K, V>();
  #handedOut = false;
  /** The revisions of rows that were dropped, for a straggler that must not bring them back. Bounded. */
  readonly #dropped = new Map<K, number>();
  readonly #remembered: number;

  constructor(remembered = 2_000) {
    this.#remembered = remembered;
  }

  get size(): number {
    return this.#rows.size;
  }

  get(key: K): V | undefined {
    return this.#rows.get(key);
  }

  values(): IterableIterator<V> {
    return this.#rows.values();
  }

  /** The rows as they are now, for good. */
  snapshot(): ReadonlyMap<K, V> {
    this.#handedOut = true;
    return this.#rows;
  }

  /** Takes the row unless a newer revision of it is known; says whether it did. */
  put(key: K, row: V): boolean {
    if (row.revision < this.#known(key)) return false;
    this.#dropped.delete(key);
    this.#writable().set(key, row);
    return true;
  }

  /** Drops the row unless a newer revision of it is known; says whether it held one and dropped it. */
  drop(key: K, revision: number): boolean {
    if (revision < this.#known(key)) return false;
    this.#remember(key, revision);
    return this.#rows.has(key) && this.#writable().delete(key);
  }

  /** Drops rows to bound memory: they may come back with any revision. */
  evict(keys: Iterable<K>): void {
    for (const key of keys) this.#writable().delete(key);
  }

  /** Starts again with these rows. */
  replace(rows: Iterable<readonly [K, V]>): void {
    this.#rows = new Map(rows);
    this.#handedOut = false;
    this.#dropped.clear();
  }

  #known(key: K): number {
    return this.#rows.get(key)?.revision ?? this.#dropped.get(key) ?? Number.NEGATIVE_INFINITY;
  }

  #remember(key: K, revision: number): void {
    this.#dropped.delete(key);
    this.#dropped.set(key, revision);
    if (this.#dropped.size > this.#remembered) {
      const [oldest] = this.#dropped.keys();
      if (oldest !== undefined) this.#dropped.delete(oldest);
    }
  }

  #writable(): Map<K, V> {
    if (this.#handedOut) {
      this.#rows = new Map(this.#rows);
      this.#handedOut = false;
    }
    return this.#rows;
  }
}
