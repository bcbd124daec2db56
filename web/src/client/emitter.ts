/** Callbacks by name. One that throws does not keep the others from hearing; the page's console gets the error. */
export class Emitter<Events> {
  readonly #heard = new Map<keyof Events, Set<(value: never) => void>>();

  /** Calls back at each event of that name; returns how to stop. */
  on<K extends keyof Events>(name: K, heard: (value: Events[K]) => void): () => void {
    const all = this.#heard.get(name) ?? new Set();
    this.#heard.set(name, all);
    all.add(heard as (value: never) => void);
    return () => all.delete(heard as (value: never) => void);
  }

  emit<K extends keyof Events>(name: K, value: Events[K]): void {
    for (const heard of [...(this.#heard.get(name) ?? [])]) {
      try {
        (heard as (value: Events[K]) => void)(value);
      } catch (error) {
        reportLater(error);
      }
    }
  }
}

/** Throws outside the present call, so that it is reported but breaks nothing. */
export function reportLater(error: unknown): void {
  setTimeout(() => {
    throw error;
  });
}
