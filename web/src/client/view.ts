/** One subscription as the page sees it: a store that the relay keeps true. */
import { Emitter } from "./emitter.js";
import { Notifier } from "./notifier.js";
import { type Bounds, type Change, Store, type ViewState } from "./store.js";
import {
  type ClientMessage,
  type EventType,
  type Filter,
  type Frame,
  isActive,
  type Operation,
  type SnapshotFrame,
} from "./types.js";

/** What can be listened to: `change` hears every event, the others those of their type. */
export type ViewEvents = { [T in EventType]: Change } & {
  change: Change;
  /** The relay could not resume: what follows is a fresh snapshot. */
  reset: { readonly reason: string; readonly message: string };
};

/** A live view on what a filter asks for. Made by `SyncClient.view`. */
export class View {
  /** The subscription's name on the wire. */
  readonly id: string;
  readonly filter: Filter;
  /** Where the relay would resume; null before the first snapshot and after a reset. */
  cursor: string | null = null;
  /** Up to when everything has been told, by the database's clock. */
  completeAsOf: string | null = null;
  /** Everything up to the present connection's begin has been told. */
  caughtUp = false;
  readonly #store: Store;
  readonly #events = new Emitter<ViewEvents>();
  readonly #notifier = new Notifier();
  readonly #release: () => void;
  #parts: SnapshotFrame[] = [];
  /** Until the snapshot is whole no cursor counts: to resume from one would leave out what the snapshot has. */
  #awaitsSnapshot = true;

  /** @internal */
  constructor(id: string, filter: Filter, bounds: Bounds, release: () => void) {
    this.id = id;
    this.filter = filter;
    this.#store = new Store(filter, bounds);
    this.#release = release;
  }

  /** The state now: the same object until something changed. */
  getSnapshot = (): ViewState => this.#store.getSnapshot();

  /** Calls back after changes, at most once a screen frame; returns how to stop. */
  subscribe = (listener: () => void): (() => void) => this.#notifier.subscribe(listener);

  /** Calls back at each event; returns how to stop. */
  on<K extends keyof ViewEvents>(name: K, heard: (value: ViewEvents[K]) => void): () => void {
    return this.#events.on(name, heard);
  }

  /** Calls back once when the operation has completed, at once where it has already; returns how to stop. */
  onComplete(operationId: string, heard: (operation: Operation) => void): () => void {
    return this.#once(operationId, (row) => row.status === "completed", heard);
  }

  /** Calls back once when the operation has failed, at once where it has already; returns how to stop. */
  onError(operationId: string, heard: (operation: Operation) => void): () => void {
    return this.#once(operationId, (row) => row.status === "failed", heard);
  }

  /** Calls back once when the operation has ended, in whatever way; returns how to stop. */
  onEnd(operationId: string, heard: (operation: Operation) => void): () => void {
    return this.#once(operationId, (row) => !isActive(row.status), heard);
  }

  /** Gives the view back, once for each `SyncClient.view`; the subscription ends when nobody holds it any more. */
  close(): void {
    this.#release();
  }

  #once(id: string, wanted: (row: Operation) => boolean, heard: (row: Operation) => void): () => void {
    let done = false;
    const look = (row: Operation | undefined) => {
      if (done || !row || !wanted(row)) return;
      stop();
      heard(row);
    };
    const unlisten = this.#events.on("change", ({ event }) => {
      // An event that takes the row out of the view still tells how it ended; a deletion ends nothing.
      if (event.topic === "operations" && event.entity === id && event.type !== "operation.deleted") look(event.data);
    });
    const unsubscribe = this.subscribe(() => look(this.#store.operation(id)));
    const stop = () => {
      done = true;
      unlisten();
      unsubscribe();
    };
    queueMicrotask(() => look(this.#store.operation(id)));
    return stop;
  }

  /** @internal The message that subscribes, resuming where it can. */
  subscribeMessage(): ClientMessage {
    return { type: "subscribe", id: this.id, ...this.filter, ...(this.cursor ? { since: this.cursor } : {}) };
  }

  /** @internal A new connection begins: half a snapshot of the last one is worth nothing. */
  begin(): void {
    this.#parts = [];
    this.caughtUp = false;
    this.#awaitsSnapshot = this.cursor === null;
  }

  /** @internal */
  receive(frame: Frame, localFilter: boolean): void {
    switch (frame.type) {
      case "subscribed":
        // What was missed comes with the same breath, except where every event is replayed: the heartbeat ends that.
        if (this.cursor && this.filter.mode !== "every") this.caughtUp = true;
        return;
      case "snapshot":
        return this.#snapshot(frame, localFilter);
      case "events":
        if (frame.cursor && !this.#awaitsSnapshot) this.cursor = frame.cursor;
        return this.#tell(this.#store.apply(frame.events, localFilter));
      case "catching_up":
        if (frame.cursor && !this.#awaitsSnapshot) this.cursor = frame.cursor;
        return;
      case "heartbeat":
        if (this.#awaitsSnapshot) return;
        this.cursor = frame.cursor;
        this.completeAsOf = frame.complete_as_of;
        this.caughtUp = true;
        return;
      case "reset":
        this.cursor = null;
        this.#awaitsSnapshot = true;
        this.caughtUp = false;
        this.#parts = [];
        return this.#events.emit("reset", { reason: frame.reason, message: frame.message ?? frame.reason });
      case "error":
        this.#store.refuse(frame.message);
        return this.#notifier.changed();
      default:
    }
  }

  #snapshot(frame: SnapshotFrame, localFilter: boolean): void {
    if ((frame.part ?? 1) === 1) this.#parts = [];
    this.#parts.push(frame);
    if (frame.cursor === undefined) return;
    const parts = this.#parts;
    this.#parts = [];
    this.cursor = frame.cursor;
    this.#awaitsSnapshot = false;
    this.caughtUp = true;
    const endings = this.#store.restart(parts, localFilter);
    this.#notifier.changed();
    this.#tell(endings);
  }

  #tell(changes: readonly Change[]): void {
    if (changes.length > 0) this.#notifier.changed();
    for (const change of changes) {
      this.#events.emit("change", change);
      this.#events.emit(change.event.type, change);
    }
  }
}
