import type { TransportKind } from "./transport.js";

/**
 * How the connection is:
 * - `stopped`: not started, or stopped;
 * - `connecting`: the first attempt has not succeeded yet;
 * - `live`: everything that is committed is here or a moment away;
 * - `catching_up`: connected, but what was missed is still coming, here or at the relay;
 * - `degraded`: the relay is there and its database is not;
 * - `reconnecting`: the connection was lost and is being made again;
 * - `offline`: the same, and the machine says it has no network;
 * - `refused`: the relay does not want this client; it does not come back by itself.
 */
export type Phase =
  | "stopped"
  | "connecting"
  | "live"
  | "catching_up"
  | "degraded"
  | "reconnecting"
  | "offline"
  | "refused";

/** What is known of the connection. Immutable: the same object until something changed. */
export interface ConnectionState {
  readonly phase: Phase;
  /** Since when, by this machine's clock, in ms since 1970. */
  readonly phaseSince: number;
  /** Why, where that is known. */
  readonly reason: string | null;
  /** What is shown is out of date: since when, an instant by the database's clock where that is known. */
  readonly staleSince: string | null;
  /** Up to when everything has been told: an instant by the database's clock. */
  readonly completeAsOf: string | null;
  /** How far the relay is behind the database, in ms. */
  readonly lagMs: number | null;
  /** The round trip to the relay, in ms; null where it cannot be measured. */
  readonly latencyMs: number | null;
  /** How far the database's clock is ahead of this machine's, in ms; 0 where they agree within two seconds. */
  readonly clockOffsetMs: number;
  readonly transport: TransportKind | null;
  /** Failed attempts since the last good connection. */
  readonly attempts: number;
  /** When the next attempt is made, in ms since 1970. */
  readonly retryAt: number | null;
  /** The relay's name and version. */
  readonly server: string | null;
  readonly connectionId: string | null;
}

export const STOPPED: ConnectionState = Object.freeze({
  phase: "stopped",
  phaseSince: 0,
  reason: null,
  staleSince: null,
  completeAsOf: null,
  lagMs: null,
  latencyMs: null,
  clockOffsetMs: 0,
  transport: null,
  attempts: 0,
  retryAt: null,
  server: null,
  connectionId: null,
});
