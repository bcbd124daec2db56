/** The client: one connection to the relay, and any number of views on what it tells. */
import { type ConnectionOwner, RelayConnection } from "./connection.js";
import { Emitter } from "./emitter.js";
import { browserEnvironment, type Environment } from "./environment.js";
import { filterKey, unionOf } from "./filter.js";
import { Notifier } from "./notifier.js";
import { openEventStream } from "./sse.js";
import type { ConnectionState } from "./state.js";
import { type Bounds, DEFAULT_BOUNDS } from "./store.js";
import type { TokenSource } from "./token.js";
import type { TransportKind, TransportListener } from "./transport.js";
import type { Filter, Frame } from "./types.js";
import { View } from "./view.js";

/** How a client is made. */
export interface ClientOptions {
  /** Where the relay is; by default where the page came from. The scheme decides between `ws` and `wss`. */
  readonly url?: string | URL;
  /** Gives a token, where the relay wants one. It is asked again before the token ends. */
  readonly token?: TokenSource;
  /** Only this way; by default WebSockets, or SSE where they are blocked. */
  readonly transport?: TransportKind;
  /** How many rows that are over are kept. */
  readonly bounds?: Partial<Bounds>;
  /** The world, for tests. */
  readonly environment?: Environment;
}

/** What can be listened to on a client. */
export interface ClientEvents {
  /** The connection changed. */
  status: ConnectionState;
  /** A connection that was there is lost. */
  lost: ConnectionState;
  /** It is back, and what was missed has arrived. */
  back: ConnectionState;
  /** The relay complained. */
  error: { readonly code: string; readonly message: string };
}

interface Held {
  readonly view: View;
  readonly key: string;
  holders: number;
}

export class SyncClient {
  /** Where the relay is, with a slash at the end. */
  readonly base: URL;
  readonly #environment: Environment;
  readonly #connection: RelayConnection;
  readonly #bounds: Bounds;
  readonly #events = new Emitter<ClientEvents>();
  readonly #notifier = new Notifier();
  readonly #views = new Map<string, Held>();
  /** Names of the subscriptions of the present event stream: it serves no others. */
  #streamed: ReadonlySet<string> = new Set();
  #reopening = false;
  #count = 0;
  #wasLive = false;
  #isLost = false;

  constructor(options: ClientOptions = {}) {
    const page = typeof location === "undefined" ? undefined : location.href;
    this.base = new URL(options.url ?? "/", page);
    this.base.search = "";
    this.base.hash = "";
    if (!this.base.pathname.endsWith("/")) this.base.pathname += "/";
    this.#environment = options.environment ?? browserEnvironment();
    this.#bounds = { ...DEFAULT_BOUNDS, ...options.bounds };
    const owner: ConnectionOwner = {
      openEventStream: (token, listener) => this.#openStream(token, listener),
      greeted: (kind) => this.#greeted(kind),
      received: (frame) => this.#received(frame),
      caughtUp: () =>
        [...this.#views.values()].every(({ view }) => view.caughtUp || view.getSnapshot().refusal !== null),
      isWatched: () => this.#views.size > 0,
      changed: (state) => this.#changed(state),
    };
    const { token, transport } = options;
    this.#connection = new RelayConnection(this.#environment, this.base, owner, {
      ...(token ? { token } : {}),
      ...(transport ? { transport } : {}),
    });
  }

  /** Connects, and stays connected until `stop`. */
  start(): this {
    this.#connection.start();
    return this;
  }

  /** Disconnects. The views keep what they have. */
  stop(): void {
    this.#connection.stop();
  }

  /** Tries to connect at once, also after a refusal. */
  retryNow(): void {
    this.#connection.retryNow();
  }

  /** The connection now: the same object until something changed. */
  getSnapshot = (): ConnectionState => this.#connection.state;

  /** Calls back after the connection changed; returns how to stop. */
  subscribe = (listener: () => void): (() => void) => this.#notifier.subscribe(listener);

  /** Calls back at each event of that name; returns how to stop. */
  on<K extends keyof ClientEvents>(name: K, heard: (value: ClientEvents[K]) => void): () => void {
    return this.#events.on(name, heard);
  }

  /** The time by the database's clock, in ms since 1970. */
  now(): number {
    return Date.now() + this.#connection.state.clockOffsetMs;
  }

  /** A live view on what the filter asks for. Equal filters share one: each call needs one `close`. */
  view(filter: Filter = {}): View {
    const key = filterKey(filter);
    const shared = [...this.#views.values()].find((held) => held.key === key);
    if (shared) {
      shared.holders += 1;
      return shared.view;
    }
    this.#count += 1;
    const id = `v${this.#count}`;
    const held: Held = { view: new View(id, filter, this.#bounds, () => this.#release(held)), key, holders: 1 };
    this.#views.set(id, held);
    if (this.#connection.kind === "websocket") this.#connection.send(held.view.subscribeMessage());
    else this.#reopenSoon();
    this.#connection.refresh();
    return held.view;
  }

  /** A view on one operation and its errors. */
  operation(id: string): View {
    return this.view({ topics: ["operations", "errors"], operation_id: [id] });
  }

  #release(held: Held): void {
    held.holders -= 1;
    if (held.holders !== 0) return;
    this.#views.delete(held.view.id);
    this.#connection.send({ type: "unsubscribe", id: held.view.id });
    this.#connection.refresh();
  }

  #greeted(kind: TransportKind): void {
    for (const { view } of this.#views.values()) {
      view.begin();
      if (kind === "websocket") this.#connection.send(view.subscribeMessage());
      else if (!this.#streamed.has(view.id)) this.#reopenSoon();
    }
  }

  #received(frame: Frame): void {
    if (frame.type === "error") this.#events.emit("error", { code: frame.code, message: frame.message });
    if (!("sub" in frame) || frame.sub === undefined) return;
    if (this.#connection.kind === "websocket") return this.#views.get(frame.sub)?.view.receive(frame, false);
    const local = this.#streamed.size > 1;
    for (const id of this.#streamed) this.#views.get(id)?.view.receive(frame, local);
  }

  #openStream(token: string | null, listener: TransportListener) {
    const views = [...this.#views.values()].map((held) => held.view);
    const cursors = new Set(views.map((view) => view.cursor));
    this.#streamed = new Set(views.map((view) => view.id));
    // One cursor for all, or a snapshot for all.
    const cursor = cursors.size === 1 ? ([...cursors][0] ?? null) : null;
    const filter = unionOf(views.map((view) => view.filter));
    return openEventStream(this.#environment, this.base, { filter, cursor, token }, listener);
  }

  #reopenSoon(): void {
    if (this.#reopening || this.#connection.kind !== "sse") return;
    this.#reopening = true;
    queueMicrotask(() => {
      this.#reopening = false;
      this.#connection.reopenStream();
    });
  }

  #changed(state: ConnectionState): void {
    this.#notifier.changed();
    this.#events.emit("status", state);
    const live = state.phase === "live";
    const away = state.phase === "reconnecting" || state.phase === "offline" || state.phase === "refused";
    if (away && this.#wasLive && !this.#isLost) {
      this.#isLost = true;
      this.#events.emit("lost", state);
    } else if (live && this.#isLost) {
      this.#isLost = false;
      this.#events.emit("back", state);
    }
    this.#wasLive ||= live;
  }
}
