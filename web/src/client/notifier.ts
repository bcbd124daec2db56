import { reportLater } from "./emitter.js";

/** How long changes gather before listeners hear of them, in ms: one screen frame. */
const GATHER_MS = 16;

/** Tells listeners that something changed, at most once a screen frame however much did. */
export class Notifier {
  readonly #listeners = new Set<() => void>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  changed(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      for (const listener of [...this.#listeners]) {
        try {
          listener();
        } catch (error) {
          reportLater(error);
        }
      }
    }, GATHER_MS);
  }
}
