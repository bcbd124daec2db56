/** A scripted world for the client: sockets and streams that do what the test says, and a clock that waits for it. */
import { vi } from "vitest";
import type { Environment, Signal, SocketLike } from "../src/client/environment.js";
import type { ClientMessage, Connection, Frame, Operation, SyncEvent } from "../src/client/index.js";

/** A socket of which the test plays the relay's end. */
export class ScriptedSocket implements SocketLike {
  onopen: SocketLike["onopen"] = null;
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  readonly sent: ClientMessage[] = [];
  closed = false;

  constructor(readonly url: string) {}

  send(data: string): void {
    this.sent.push(JSON.parse(data) as ClientMessage);
  }

  close(): void {
    this.closed = true;
  }

  open(): this {
    this.onopen?.(undefined as never);
    return this;
  }

  say(...frames: Frame[]): this {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
    return this;
  }

  drop(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason });
  }

  messages<T extends ClientMessage["type"]>(type: T): Extract<ClientMessage, { type: T }>[] {
    return this.sent.filter((message): message is Extract<ClientMessage, { type: T }> => message.type === type);
  }
}

/** A request for an event stream, answered by the test. */
export class ScriptedStream {
  readonly #encoder = new TextEncoder();
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(
    readonly url: URL,
    readonly headers: Record<string, string>,
    readonly signal: AbortSignal,
    readonly answer: (response: Response) => void,
    readonly refuse: (error: Error) => void,
  ) {}

  open(): this {
    this.answer(
      new Response(
        new ReadableStream<Uint8Array>({
          start: (controller) => {
            this.#controller = controller;
          },
        }),
      ),
    );
    return this;
  }

  write(text: string): this {
    this.#controller?.enqueue(this.#encoder.encode(text));
    return this;
  }

  say(...frames: Frame[]): this {
    for (const frame of frames) this.write(`event: ${frame.type}\ndata: ${JSON.stringify(frame)}\n\n`);
    return this;
  }

  end(): void {
    this.#controller?.close();
  }
}

export class World implements Environment {
  readonly sockets: ScriptedSocket[] = [];
  readonly streams: ScriptedStream[] = [];
  jitter = 1;
  isOnline = true;
  isHidden = false;
  #heard: ((signal: Signal) => void) | null = null;

  openSocket = (url: string): SocketLike => {
    const socket = new ScriptedSocket(url);
    this.sockets.push(socket);
    return socket;
  };

  fetch = ((input: string, init: RequestInit) =>
    new Promise<Response>((answer, refuse) => {
      const { headers, signal } = init;
      const stream = new ScriptedStream(
        new URL(input),
        headers as Record<string, string>,
        signal as AbortSignal,
        answer,
        refuse,
      );
      this.streams.push(stream);
    })) as typeof fetch;

  random = () => this.jitter;
  online = () => this.isOnline;
  hidden = () => this.isHidden;

  listen(heard: (signal: Signal) => void): () => void {
    this.#heard = heard;
    return () => {
      this.#heard = null;
    };
  }

  signal(signal: Signal): void {
    this.#heard?.(signal);
  }

  get socket(): ScriptedSocket {
    return this.sockets.at(-1) as ScriptedSocket;
  }

  get stream(): ScriptedStream {
    return this.streams.at(-1) as ScriptedStream;
  }
}

/** Lets everything that is due happen, without time passing. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

export const START = Date.parse("2026-11-21T05:00:00Z");

export const hello: Frame = {
  type: "hello",
  protocol: 1,
  connection_id: "c1",
  server: "bellwether/0.1.0",
  heartbeat_interval_ms: 10_000,
  reconnect: { min_ms: 500, max_ms: 30_000, jitter: 1 },
};

export const live: Frame = { type: "status", status: "live", since: "2026-11-21T05:00:00Z" };

export function operation(id: string, fields: Partial<Operation> = {}): Operation {
  return {
    id,
    operation_type: "upload",
    status: "in_progress",
    progress: 10,
    message: null,
    current_item: null,
    total_items: 100,
    processed_items: 10,
    failed_items: 0,
    inserted_items: 0,
    updated_items: 0,
    deleted_items: 0,
    kept_items: 0,
    skipped_items: 0,
    entities_encountered: {},
    counters: {},
    owner: "alice",
    source: null,
    triggered_by: null,
    created_at: "2026-11-21T04:59:00.000000+00:00",
    started_at: "2026-11-21T04:59:00.000000+00:00",
    updated_at: "2026-11-21T04:59:30.000000+00:00",
    heartbeat_at: "2026-11-21T04:59:30.000000+00:00",
    progressed_at: null,
    completed_at: null,
    duration_seconds: null,
    items_per_second: null,
    estimated_completion_at: null,
    error: null,
    metadata: {},
    performance_data: {},
    revision: 1,
    event_id: null,
    changed_from: null,
    ...fields,
  };
}

export function connection(id: string, fields: Partial<Connection> = {}): Connection {
  return {
    client_id: id,
    status: "connected",
    last_ping: null,
    latency_ms: 12,
    reconnect_attempts: 0,
    source: "app",
    address: null,
    user_agent: null,
    metadata: {},
    relay_id: null,
    connected_at: "2026-11-21T04:59:00Z",
    disconnected_at: null,
    updated_at: "2026-11-21T04:59:00Z",
    revision: 1,
    ...fields,
  };
}

let ids = 0;

/** An event about an operation. */
export function told(type: string, row: Operation, more: Partial<SyncEvent> = {}): SyncEvent {
  ids += 1;
  const event = {
    id: ids,
    topic: "operations",
    type,
    entity: row.id,
    revision: row.revision,
    at: row.updated_at,
    data: row,
  };
  return { ...event, ...more } as SyncEvent;
}

export function snapshot(sub: string, cursor: string, operations: readonly Operation[] = []): Frame {
  return { type: "snapshot", sub, cursor, part: 1, parts: 1, operations, connections: [], health: null };
}

export function events(sub: string, cursor: string, ...list: SyncEvent[]): Frame {
  return { type: "events", sub, cursor, events: list };
}

export function heartbeat(sub: string, cursor: string, at: number = Date.now(), lagMs = 0): Frame {
  return { type: "heartbeat", sub, cursor, complete_as_of: new Date(at).toISOString(), lag_ms: lagMs };
}
