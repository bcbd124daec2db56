/**
 * The wire of the relay, protocol version 1: the rows as the tables have them and the frames that carry them.
 * Instants are ISO 8601 strings in UTC, durations are numbers with the unit in the name.
 */

/** What subscribers choose by. */
export type Topic = "operations" | "errors" | "connections" | "health";

/** The states of an operation; the last three are final. */
export type OperationStatus = "pending" | "in_progress" | "paused" | "completed" | "failed" | "cancelled";

/** A row of `sync_operations`. */
export interface Operation {
  readonly id: string;
  readonly operation_type: string;
  readonly status: OperationStatus;
  /** Percent done, 0 to 100. */
  readonly progress: number;
  readonly message: string | null;
  readonly current_item: string | null;
  /** Null while unknown: then there is no percentage to show. */
  readonly total_items: number | null;
  readonly processed_items: number;
  readonly failed_items: number;
  readonly inserted_items: number;
  readonly updated_items: number;
  readonly deleted_items: number;
  readonly kept_items: number;
  readonly skipped_items: number;
  readonly entities_encountered: Readonly<Record<string, unknown>>;
  readonly counters: Readonly<Record<string, unknown>>;
  readonly owner: string | null;
  readonly source: string | null;
  readonly triggered_by: string | null;
  readonly created_at: string;
  readonly started_at: string | null;
  readonly updated_at: string;
  readonly heartbeat_at: string;
  readonly progressed_at: string | null;
  readonly completed_at: string | null;
  readonly duration_seconds: number | null;
  readonly items_per_second: number | null;
  readonly estimated_completion_at: string | null;
  readonly error: string | null;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly performance_data: Readonly<Record<string, unknown>>;
  /** Only its order means something. */
  readonly revision: number;
  /** The id that the last change drew for its event; null for a new row and after a mere sign of life. */
  readonly event_id: number | null;
  /** What the last change moved of status, owner, operation type and source, with the values before it. */
  readonly changed_from: Readonly<Record<string, string | null>> | null;
  /** The last sign of life, only while the operation is stalled. */
  readonly stalled_since?: string | null;
}

/** A row of `sync_operation_errors`. */
export interface OperationError {
  readonly id: number;
  readonly operation_id: string;
  readonly item: string | null;
  readonly message: string;
  readonly code: string | null;
  readonly details: Readonly<Record<string, unknown>>;
  readonly occurred_at: string;
  readonly revision: number;
}

/** The states of a watched connection. */
export type ConnectionStatus = "connected" | "disconnected" | "reconnecting" | "error";

/** A row of `connection_status`. */
export interface Connection {
  readonly client_id: string;
  readonly status: ConnectionStatus;
  readonly last_ping: string | null;
  readonly latency_ms: number | null;
  readonly reconnect_attempts: number;
  readonly source: "app" | "relay";
  readonly address: string | null;
  readonly user_agent: string | null;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly relay_id: string | null;
  readonly connected_at: string | null;
  readonly disconnected_at: string | null;
  readonly updated_at: string;
  readonly revision: number;
}

/** How things are: `active` and `idle` mean that nothing ended, so that there is nothing to judge by. */
export type HealthStatus = "healthy" | "warning" | "critical" | "active" | "idle";

/** A row of `sync_status_snapshots`. */
export interface Health {
  readonly id: number;
  readonly kind: "scheduled" | "manual";
  readonly period_start: string | null;
  readonly taken_at: string;
  readonly window_seconds: number;
  readonly status: HealthStatus;
  readonly score: number | null;
  readonly error_rate_percent: number | null;
  readonly success_rate_percent: number | null;
  readonly completed_operations: number;
  readonly failed_operations: number;
  readonly cancelled_operations: number;
  readonly pending_operations: number;
  readonly running_operations: number;
  readonly paused_operations: number;
  readonly stalled_operations: number;
  readonly peak_concurrency: number;
  readonly processed_items: number;
  readonly failed_items: number;
  readonly average_duration_seconds: number | null;
  readonly p95_duration_seconds: number | null;
  readonly connected_clients: number;
  readonly lost_connections: number;
  readonly average_latency_ms: number | null;
  readonly reconnect_attempts: number;
  readonly revision: number;
}

/** The types of events; a newer relay may send others. */
export type EventType =
  | `operation.${
      | "created"
      | "started"
      | "progress"
      | "paused"
      | "resumed"
      | "requeued"
      | "completed"
      | "failed"
      | "cancelled"
      | "stalled"
      | "unstalled"
      | "deleted"}`
  | `error.${"recorded" | "changed" | "deleted"}`
  | `connection.${"opened" | "changed" | "closed" | "deleted"}`
  | `health.${"snapshot" | "changed" | "deleted"}`
  | "table.truncated";

interface EventOf<T extends Topic, D> {
  readonly id: number;
  readonly topic: T;
  readonly type: EventType;
  /** The row that changed; for errors the operation's id, for `table.truncated` the table's name. */
  readonly entity: string;
  readonly revision: number;
  readonly at: string;
  /** The row no longer matches the subscription's filter. */
  readonly left?: boolean;
  /** The row after the change, on delete the row before it; for `table.truncated` the table's name. */
  readonly data: D;
}

/** One change, as the relay tells it. */
export type SyncEvent =
  | EventOf<"operations", Operation>
  | EventOf<"errors", OperationError>
  | EventOf<"connections", Connection>
  | EventOf<"health", Health>;

/** What the relay says of itself. */
export type RelayStatus = "live" | "degraded" | "catching_up";

/** What a subscription asks for. Fields are ANDed, the values of one field ORed; an absent field filters nothing. */
export interface Filter {
  readonly topics?: readonly Topic[];
  readonly operation_id?: readonly string[];
  readonly owner?: readonly string[];
  readonly operation_type?: readonly string[];
  readonly status?: readonly string[];
  readonly source?: readonly string[];
  /** `latest` (the default) may skip states that are out of date already; `every` skips none. */
  readonly mode?: "latest" | "every";
}

/** What the relay sends. */
export type Frame =
  | {
      readonly type: "hello";
      readonly protocol: number;
      readonly connection_id: string;
      readonly server: string;
      readonly heartbeat_interval_ms: number;
      readonly reconnect?: { readonly min_ms: number; readonly max_ms: number; readonly jitter?: number };
    }
  | { readonly type: "status"; readonly status: RelayStatus; readonly since: string; readonly reason?: string }
  | { readonly type: "subscribed"; readonly sub: string; readonly cursor?: string; readonly filter?: unknown }
  | { readonly type: "unsubscribed"; readonly sub: string }
  | SnapshotFrame
  | {
      readonly type: "events";
      readonly sub: string;
      readonly cursor?: string;
      readonly events: readonly SyncEvent[];
    }
  | {
      readonly type: "heartbeat";
      readonly sub: string;
      readonly cursor: string;
      readonly complete_as_of: string;
      readonly lag_ms: number;
    }
  | { readonly type: "catching_up"; readonly sub: string; readonly cursor?: string }
  | { readonly type: "reset"; readonly sub: string; readonly reason: string; readonly message?: string }
  | { readonly type: "pong" }
  | { readonly type: "error"; readonly sub?: string; readonly code: string; readonly message: string }
  | { readonly type: "closing"; readonly code: number; readonly reason: string; readonly retry_after_ms?: number };

/** The state at a cursor; a large one comes in parts, of which only the last carries the cursor. */
export interface SnapshotFrame {
  readonly type: "snapshot";
  readonly sub: string;
  readonly cursor?: string;
  readonly part?: number;
  readonly parts?: number;
  readonly operations?: readonly Operation[];
  readonly connections?: readonly Connection[];
  readonly health?: Health | null;
  /** False where the relay left rows out because there are too many; on the last part. */
  readonly complete?: boolean;
  /** How many rows were left out, where the relay counts them. */
  readonly omitted?: number;
}

/** What a client sends. */
export type ClientMessage =
  | ({ readonly type: "subscribe"; readonly id: string; readonly since?: string } & Filter)
  | { readonly type: "unsubscribe"; readonly id: string }
  | { readonly type: "ping" }
  | { readonly type: "auth"; readonly token: string };

/** Whether an operation in this state goes on. */
export function isActive(status: OperationStatus): boolean {
  return status === "pending" || status === "in_progress" || status === "paused";
}
