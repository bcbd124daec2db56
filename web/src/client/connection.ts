/**
 * Keeps one connection to the relay, whatever happens to it: the loop of attempts, the watch over an open connection,
 * and the account of how things are. What is subscribed is not its business: it calls back.
 */
import { Backoff } from "./backoff.js";
import type { Environment, Signal } from "./environment.js";
import { Liveness } from "./liveness.js";
import { type ConnectionState, type Phase, STOPPED } from "./state.js";
import { TokenKeeper, type TokenSource } from "./token.js";
import type { Transport, TransportEnd, TransportKind, TransportListener } from "./transport.js";
import type { ClientMessage, Frame, RelayStatus } from "./types.js";
import { openWebSocket } from "./websocket.js";

/** How often the watch looks, in ms. */
const WATCH_MS = 1_000;
/** How long an answer to a probe is waited for, in ms. */
const PROBE_MS = 3_000;
/** WebSocket attempts in a row that never reached the relay, before SSE is tried. */
const SOCKET_ATTEMPTS = 2;

/** What the connection asks of its owner. */
export interface ConnectionOwner {
  /** Opens an event stream of everything that is subscribed. */
  openEventStream(token: string | null, listener: TransportListener): Transport;
  /** The relay has greeted: subscribe. */
  greeted(kind: TransportKind): void;
  received(frame: Frame): void;
  /** Whether everything that was missed has arrived. */
  caughtUp(): boolean;
  /** Whether anything is subscribed: without, there are no heartbeats, and nothing that could be out of date. */
  isWatched(): boolean;
  changed(state: ConnectionState): void;
}

export class RelayConnection {
  readonly #environment: Environment;
  readonly #base: URL;
  readonly #owner: ConnectionOwner;
  readonly #backoff: Backoff;
  readonly #liveness = new Liveness();
  readonly #tokens: TokenKeeper | null;
  readonly #only: TransportKind | null;
  #state: ConnectionState = STOPPED;
  #transport: Transport | null = null;
  /** Counts attempts, so that what an older one still says is not heard. */
  #generation = 0;
  #greeted = false;
  #socketWorks = false;
  #socketFailures = 0;
  #tokenRefused = false;
  #relay: { status: RelayStatus; reason: string | null } | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  #lookedAt = 0;
  #openedAt = 0;
  #pingedAt: number | null = null;
  #probing = false;
  #nextPingAt = 0;
  #unlisten: (() => void) | undefined;

  constructor(
    environment: Environment,
    base: URL,
    owner: ConnectionOwner,
    options: { token?: TokenSource; transport?: TransportKind },
  ) {
    this.#environment = environment;
    this.#base = base;
    this.#owner = owner;
    this.#backoff = new Backoff(() => environment.random());
    this.#only = options.transport ?? null;
    this.#tokens = options.token ? new TokenKeeper(options.token, (token) => this.#renewed(token)) : null;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get kind(): TransportKind | null {
    return this.#greeted ? (this.#transport?.kind ?? null) : null;
  }

  start(): void {
    if (this.#watch !== undefined) return;
    this.#lookedAt = Date.now();
    this.#watch = setInterval(() => this.#look(), WATCH_MS);
    this.#unlisten = this.#environment.listen((signal) => this.#heard(signal));
    this.#set({ phase: "connecting", reason: null });
    this.#attempt();
  }

  stop(): void {
    this.#generation += 1;
    clearInterval(this.#watch);
    clearTimeout(this.#retry);
    this.#watch = undefined;
    this.#unlisten?.();
    this.#tokens?.stop();
    this.#drop();
    this.#set({ phase: "stopped", reason: null, retryAt: null });
  }

  /** Tries at once, also after a refusal. */
  retryNow(): void {
    if (this.#watch === undefined || this.#transport) return;
    clearTimeout(this.#retry);
    this.#attempt();
  }

  send(message: ClientMessage): boolean {
    return this.#greeted && (this.#transport?.send(message) ?? false);
  }

  /** Opens the event stream anew, for what is subscribed now. */
  reopenStream(): void {
    if (this.#transport?.kind !== "sse") return;
    this.#drop();
    this.#attempt();
  }

  /** To be called when a subscription has caught up, or has begun. */
  refresh(): void {
    this.#set({ phase: this.#phase() });
  }

  async #attempt(): Promise<void> {
    this.#generation += 1;
    const generation = this.#generation;
    const current = () => generation === this.#generation;
    this.#set({ retryAt: null });
    let token: string | null = null;
    try {
      token = (await this.#tokens?.get()) ?? null;
    } catch (error) {
      if (current())
        this.#ended({ reason: `no token: ${error instanceof Error ? error.message : error}`, refused: false });
      return;
    }
    if (!current()) return;
    const listener: TransportListener = {
      opened: () => current() && token !== null && this.#transport?.send({ type: "auth", token }),
      frame: (frame) => current() && this.#received(frame),
      closed: (end) => current() && this.#ended(end),
    };
    const kind = this.#choose();
    if (!kind) return this.#ended({ reason: "this browser has neither WebSockets nor fetch", refused: true });
    this.#transport =
      kind === "websocket"
        ? openWebSocket(this.#environment, this.#base, listener)
        : this.#owner.openEventStream(token, listener);
  }

  /** WebSockets, unless they never reach the relay: then both by turns, until one does. */
  #choose(): TransportKind | null {
    if (this.#only) return this.#only;
    const { openSocket, fetch } = this.#environment;
    if (!openSocket || !fetch) return openSocket ? "websocket" : fetch ? "sse" : null;
    if (this.#socketWorks || this.#socketFailures < SOCKET_ATTEMPTS) return "websocket";
    return this.#socketFailures % 2 === 0 ? "sse" : "websocket";
  }

  #received(frame: Frame): void {
    const now = Date.now();
    this.#liveness.heard(now);
    this.#probing = false;
    switch (frame.type) {
      case "hello":
        return this.#hello(frame, now);
      case "status":
        this.#relay = { status: frame.status, reason: frame.reason ?? null };
        return this.refresh();
      case "pong":
        if (this.#pingedAt !== null) this.#set({ latencyMs: Math.round(performance.now() - this.#pingedAt) });
        this.#pingedAt = null;
        return;
      case "heartbeat":
        this.#owner.received(frame);
        return this.#heartbeat(frame, now);
      case "snapshot":
        this.#owner.received(frame);
        if (frame.cursor !== undefined) this.#liveness.snapshot(now);
        return this.refresh();
      case "error":
        if (frame.code.includes("token") || frame.code.includes("auth")) this.#unauthorized();
        this.#owner.received(frame);
        return this.refresh();
      default:
        this.#owner.received(frame);
        if (this.#state.phase !== this.#phase()) this.refresh();
    }
  }

  #hello(frame: Frame & { type: "hello" }, now: number): void {
    if (frame.protocol !== 1) {
      return this.#ended({
        reason: `the relay speaks protocol version ${frame.protocol}, this page version 1`,
        refused: true,
      });
    }
    const kind = (this.#transport as Transport).kind;
    this.#greeted = true;
    this.#openedAt = now;
    this.#nextPingAt = now;
    if (kind === "websocket") {
      this.#socketWorks = true;
      this.#socketFailures = 0;
    }
    this.#liveness.setInterval(frame.heartbeat_interval_ms);
    if (frame.reconnect) this.#backoff.hint(frame.reconnect.min_ms, frame.reconnect.max_ms);
    this.#owner.greeted(kind);
    this.#set({ phase: this.#phase(), transport: kind, server: frame.server, connectionId: frame.connection_id });
  }

  #heartbeat(frame: Frame & { type: "heartbeat" }, now: number): void {
    this.#liveness.heartbeat(now, frame.complete_as_of, frame.lag_ms, this.#relay?.status === "live");
    this.#backoff.reset();
    this.#tokenRefused = false;
    const offset = Date.parse(frame.complete_as_of) + frame.lag_ms - now;
    this.#set({
      phase: this.#phase(),
      completeAsOf: this.#liveness.completeAsOf,
      lagMs: frame.lag_ms,
      clockOffsetMs: Math.abs(offset) > 2_000 ? offset : 0,
    });
  }

  /** How things are on an open connection. */
  #phase(): Phase {
    if (!this.#greeted) return this.#state.phase;
    if (this.#relay && this.#relay.status !== "live") return this.#relay.status;
    return this.#owner.caughtUp() ? "live" : "catching_up";
  }

  #ended(end: TransportEnd): void {
    const kind = this.#transport?.kind;
    if (kind === "websocket" && !this.#greeted) this.#socketFailures += 1;
    if (kind === "sse" && !this.#greeted && !end.unauthorized) this.#socketFailures += 1;
    // A connection that held for a while was good, even where it ended before its first heartbeat.
    if (this.#greeted && Date.now() - this.#openedAt > this.#liveness.intervalMs) this.#backoff.reset();
    const wasUp = this.#greeted || this.#state.server !== null;
    this.#drop();
    if (end.unauthorized) this.#tokens?.discard();
    if (end.refused || (end.unauthorized && (!this.#tokens || this.#tokenRefused))) {
      return this.#set({ phase: "refused", reason: end.reason, retryAt: null });
    }
    this.#tokenRefused = end.unauthorized === true;
    const wait = this.#backoff.next(end.unauthorized ? 0 : end.retryAfterMs);
    const away = this.#environment.online() ? "reconnecting" : "offline";
    this.#set({
      phase: wasUp ? away : this.#environment.online() ? "connecting" : "offline",
      reason: end.reason,
      retryAt: Date.now() + wait,
    });
    this.#retry = setTimeout(() => this.#attempt(), wait);
  }

  #drop(): void {
    this.#generation += 1;
    clearTimeout(this.#retry);
    this.#transport?.close();
    this.#transport = null;
    this.#greeted = false;
    this.#relay = null;
    this.#probing = false;
    this.#pingedAt = null;
    this.#set({ transport: null, latencyMs: null, connectionId: null });
  }

  /** The watch: notices silence, sleep, and that what is shown has become stale. */
  #look(): void {
    const now = Date.now();
    const slept = Liveness.slept(this.#lookedAt, now);
    this.#lookedAt = now;
    this.#set({});
    if (slept) return this.#woke();
    if (!this.#greeted) return;
    if (this.#liveness.isSilent(now)) return this.#ended({ reason: "the relay fell silent", refused: false });
    if (this.#probing && this.#pingedAt !== null && performance.now() - this.#pingedAt > PROBE_MS) {
      return this.#ended({ reason: "the connection did not survive", refused: false, retryAfterMs: 0 });
    }
    if (now >= this.#nextPingAt) this.#ping(now);
  }

  #ping(now: number): void {
    this.#nextPingAt = now + this.#liveness.intervalMs;
    if (this.#pingedAt === null && this.send({ type: "ping" })) this.#pingedAt = performance.now();
  }

  #heard(signal: Signal): void {
    if (signal === "hidden") return;
    if (signal === "offline") {
      if (!this.#greeted && this.#state.phase === "reconnecting") this.#set({ phase: "offline" });
      // The machine may be wrong (the relay may be on it): an open connection is asked, not cut.
      return this.#probe();
    }
    this.#look();
    this.#woke();
  }

  /** The page is back: proves that the connection is still there, or makes a new one without waiting. */
  #woke(): void {
    if (this.#state.phase === "refused") return;
    if (this.#transport) return this.#probe();
    this.retryNow();
  }

  #probe(): void {
    if (!this.#greeted) return;
    this.#pingedAt = null;
    this.#ping(Date.now());
    this.#probing = this.#pingedAt !== null;
    // A stream cannot be asked: after a sleep it is made anew, with its cursor.
    if (!this.#probing && this.#state.staleSince !== null) this.reopenStream();
  }

  #renewed(token: string): void {
    if (!this.send({ type: "auth", token })) this.reopenStream();
  }

  #unauthorized(): void {
    if (!this.#tokens || this.#tokenRefused) return;
    this.#tokenRefused = true;
    this.#tokens.discard();
    this.#tokens.get().then(
      (token) => this.#renewed(token),
      () => undefined,
    );
  }

  #set(change: Partial<ConnectionState>): void {
    const next = { ...this.#state, ...change };
    if (change.phase !== undefined && change.phase !== this.#state.phase) next.phaseSince = Date.now();
    next.attempts = this.#backoff.attempts;
    if (this.#greeted) next.reason = this.#relay?.status === "live" ? null : (this.#relay?.reason ?? null);
    next.staleSince = this.#owner.isWatched() ? this.#liveness.staleSince(Date.now()) : null;
    const same = (Object.keys(next) as (keyof ConnectionState)[]).every((key) => next[key] === this.#state[key]);
    if (same) return;
    this.#state = Object.freeze(next);
    this.#owner.changed(this.#state);
  }
}
