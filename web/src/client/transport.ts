/** One attempt at a connection, over whatever carries it. */
import type { ClientMessage, Frame } from "./types.js";

/** What carries the frames. */
export type TransportKind = "websocket" | "sse";

/** A connection that is open or being opened. After `closed` it says nothing more. */
export interface Transport {
  readonly kind: TransportKind;
  /** Sends, where messages can be sent; says whether it could. */
  send(message: ClientMessage): boolean;
  /** Ends it without a `closed`. */
  close(): void;
}

/** Where a transport reports to. */
export interface TransportListener {
  opened(): void;
  frame(frame: Frame): void;
  closed(end: TransportEnd): void;
}

/** How a connection ended. */
export interface TransportEnd {
  /** For people. */
  readonly reason: string;
  /** Coming back the same way is pointless. */
  readonly refused: boolean;
  /** The relay wants another token. */
  readonly unauthorized?: boolean;
  /** How long the relay asks to stay away. */
  readonly retryAfterMs?: number;
}

/** The close codes after which a client must not come back by itself, and why. */
const REFUSALS: Readonly<Record<number, string>> = {
  4000: "the relay could not read the request",
  4001: "the relay does not speak this protocol version",
  4003: "the relay does not admit this page's origin",
  4006: "a message was too big for the relay",
};

/** What a WebSocket's close code means. */
export function endOfSocket(code: number, reason: string, retryAfterMs?: number): TransportEnd {
  const refusal = REFUSALS[code];
  const end = {
    reason: reason || refusal || (code === 1006 ? "the connection was lost" : `the connection was closed (${code})`),
    refused: refusal !== undefined,
  };
  return retryAfterMs === undefined ? end : { ...end, retryAfterMs };
}

/** Reads a frame; null for text that is none. */
export function parseFrame(text: string): Frame | null {
  try {
    const frame: unknown = JSON.parse(text);
    return typeof frame === "object" && frame !== null && typeof (frame as Frame).type === "string"
      ? (frame as Frame)
      : null;
  } catch {
    return null;
  }
}
