/** Bellwether's client: a live, truthful copy of what the relay tells. No dependency, no framework. */
export { type ClientEvents, type ClientOptions, SyncClient } from "./client.js";
export type { Environment, Signal, SocketLike } from "./environment.js";
export type { ConnectionState, Phase } from "./state.js";
export type { Bounds, Change, ViewState } from "./store.js";
export type { Token, TokenSource } from "./token.js";
export type { TransportKind } from "./transport.js";
export * from "./types.js";
export type { View, ViewEvents } from "./view.js";
