/** What a view knows: pure state, brought forward by snapshots and events. It knows no socket and no clock. */
import { Collection } from "./collection.js";
import { matchesConnection, matchesOperation, topicsOf } from "./filter.js";
import {
  type Connection,
  type Filter,
  type Health,
  isActive,
  type Operation,
  type OperationError,
  type SnapshotFrame,
  type SyncEvent,
} from "./types.js";

/** The state of a view. Immutable: the same object until something changed. */
export interface ViewState {
  /** Whether a snapshot has been applied: until then empty means unknown, not none. */
  readonly ready: boolean;
  readonly operations: ReadonlyMap<string, Operation>;
  /** Errors of single items, by their id; those that were recorded while the view was open. */
  readonly errors: ReadonlyMap<number, OperationError>;
  readonly connections: ReadonlyMap<string, Connection>;
  readonly health: Health | null;
  /** False where the relay left rows out of its snapshot because there are too many. */
  readonly complete: boolean;
  /** Why the relay refused the subscription. */
  readonly refusal: string | null;
}

/** A change that has been applied. */
export interface Change {
  readonly event: SyncEvent;
  /** The operation before the change, where it was known. */
  readonly previous: Operation | undefined;
  /** The event was concluded from a snapshot after a reset; the relay did not send it. */
  readonly derived: boolean;
}

/** How many rows that are over are kept. */
export interface Bounds {
  readonly finishedOperations: number;
  readonly errors: number;
  readonly disconnected: number;
}

export const DEFAULT_BOUNDS: Bounds = { finishedOperations: 500, errors: 1_000, disconnected: 500 };

export class Store {
  readonly #filter: Filter;
  readonly #bounds: Bounds;
  readonly #operations = new Collection<string, Operation>();
  readonly #errors = new Collection<number, OperationError>();
  readonly #connections = new Collection<string, Connection>();
  #health: Health | null = null;
  #ready = false;
  #complete = true;
  #refusal: string | null = null;
  #state: ViewState | null = null;

  constructor(filter: Filter, bounds: Bounds = DEFAULT_BOUNDS) {
    this.#filter = filter;
    this.#bounds = bounds;
  }

  get ready(): boolean {
    return this.#ready;
  }

  operation(id: string): Operation | undefined {
    return this.#operations.get(id);
  }

  getSnapshot(): ViewState {
    this.#state ??= Object.freeze({
      ready: this.#ready,
      operations: this.#operations.snapshot(),
      errors: this.#errors.snapshot(),
      connections: this.#connections.snapshot(),
      health: this.#health,
      complete: this.#complete,
      refusal: this.#refusal,
    });
    return this.#state;
  }

  refuse(reason: string): void {
    this.#refusal = reason;
    this.#state = null;
  }

  /** Starts again from a whole snapshot; returns the endings that it shows and that were not told. */
  restart(parts: readonly SnapshotFrame[], localFilter: boolean): Change[] {
    const wanted = <T>(rows: readonly T[], matches: (filter: Filter, row: T) => boolean) =>
      localFilter ? rows.filter((row) => matches(this.#filter, row)) : rows;
    const operations = wanted(
      parts.flatMap((part) => part.operations ?? []),
      matchesOperation,
    );
    const connections = wanted(
      parts.flatMap((part) => part.connections ?? []),
      matchesConnection,
    );
    const endings = this.#ready ? operations.flatMap((row) => this.#ending(row)) : [];
    this.#operations.replace(operations.map((row) => [row.id, row]));
    this.#connections.replace(connections.map((row) => [row.client_id, row]));
    const last = parts.at(-1);
    this.#health = (topicsOf(this.#filter).includes("health") && last?.health) || null;
    this.#complete = (last?.complete ?? true) && !last?.omitted;
    this.#refusal = null;
    this.#ready = true;
    this.#bound();
    this.#state = null;
    return endings;
  }

  #ending(row: Operation): Change[] {
    const previous = this.#operations.get(row.id);
    if (!previous || !isActive(previous.status) || isActive(row.status)) return [];
    const type = `operation.${row.status as "completed" | "failed" | "cancelled"}` as const;
    const at = row.completed_at ?? row.updated_at;
    const event = { id: 0, topic: "operations", type, entity: row.id, revision: row.revision, at, data: row } as const;
    return [{ event, previous, derived: true }];
  }

  /** Applies events in order; returns those that changed something. */
  apply(events: readonly SyncEvent[], localFilter: boolean): Change[] {
    const changes = events.flatMap((event) => {
      const previous = event.topic === "operations" ? this.#operations.get(event.entity) : undefined;
      return this.#apply(event, localFilter) ? [{ event, previous, derived: false }] : [];
    });
    if (changes.length > 0) {
      this.#bound();
      this.#state = null;
    }
    return changes;
  }

  #apply(event: SyncEvent, localFilter: boolean): boolean {
    if (!topicsOf(this.#filter).includes(event.topic)) return false;
    if (event.type === "table.truncated") return this.#truncate(event);
    const deleted = event.type.endsWith(".deleted");
    switch (event.topic) {
      case "operations": {
        const gone = deleted || event.left || (localFilter && !matchesOperation(this.#filter, event.data));
        return gone
          ? this.#operations.drop(event.entity, event.revision)
          : this.#operations.put(event.entity, atRevision(event.data, event.revision));
      }
      case "connections": {
        const gone = deleted || event.left || (localFilter && !matchesConnection(this.#filter, event.data));
        return gone
          ? this.#connections.drop(event.entity, event.revision)
          : this.#connections.put(event.entity, atRevision(event.data, event.revision));
      }
      case "errors":
        if (localFilter && !this.#wantsErrorsOf(event.entity)) return false;
        return deleted || event.left
          ? this.#errors.drop(event.data.id, event.revision)
          : this.#errors.put(event.data.id, atRevision(event.data, event.revision));
      case "health":
        return this.#judge(event.data, deleted);
    }
  }

  #judge(health: Health, deleted: boolean): boolean {
    const held = this.#health;
    if (deleted) {
      if (held?.id !== health.id) return false;
      this.#health = null;
      return true;
    }
    if (held && (held.taken_at > health.taken_at || (held.id === health.id && held.revision > health.revision))) {
      return false;
    }
    this.#health = health;
    return true;
  }

  #wantsErrorsOf(operation: string): boolean {
    const { operation_id, owner, operation_type, status, source } = this.#filter;
    if (operation_id && !operation_id.includes(operation)) return false;
    return !(owner || operation_type || status || source) || this.#operations.get(operation) !== undefined;
  }

  #truncate(event: SyncEvent): boolean {
    if (event.topic === "operations") this.#operations.replace([]);
    if (event.topic === "errors") this.#errors.replace([]);
    if (event.topic === "connections") this.#connections.replace([]);
    if (event.topic === "health") this.#health = null;
    return true;
  }

  #bound(): void {
    const { finishedOperations, errors, disconnected } = this.#bounds;
    // Sorting is for when a quarter more has gathered than is kept, not for each event.
    if (this.#operations.size > finishedOperations * 1.25) {
      const over = [...this.#operations.values()].filter((row) => !isActive(row.status));
      this.#operations.evict(oldest(over, finishedOperations, (row) => row.completed_at ?? "").map((row) => row.id));
    }
    if (this.#errors.size > errors * 1.25) {
      const all = [...this.#errors.values()];
      this.#errors.evict(oldest(all, errors, (row) => row.occurred_at).map((row) => row.id));
    }
    if (this.#connections.size > disconnected * 1.25) {
      const over = [...this.#connections.values()].filter((row) => row.status === "disconnected");
      this.#connections.evict(oldest(over, disconnected, (row) => row.updated_at).map((row) => row.client_id));
    }
  }
}

/** The row with the revision of its event, which is what the order of changes is told by. */
function atRevision<T extends { readonly revision: number }>(row: T, revision: number): T {
  return row.revision === revision ? row : { ...row, revision };
}

/** All but the `keep` newest. */
function oldest<T>(rows: T[], keep: number, instant: (row: T) => string): T[] {
  if (rows.length <= keep * 1.25) return [];
  rows.sort((a, b) => (instant(a) < instant(b) ? -1 : 1));
  return rows.slice(0, rows.length - keep);
}
