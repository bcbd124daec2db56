/** What the client needs of the world around it; tests script it. */
export interface Environment {
  /** Opens a WebSocket, or is absent where there are none. */
  readonly openSocket?: (url: string) => SocketLike;
  /** Fetches a stream, or is absent where that cannot be. */
  readonly fetch?: typeof fetch;
  /** 0 to 1. */
  random(): number;
  /** What the machine believes of its network; it may be wrong in both directions. */
  online(): boolean;
  hidden(): boolean;
  /** Calls back when the page is shown or hidden, thawed, or the network comes and goes; returns how to stop. */
  listen(heard: (signal: Signal) => void): () => void;
}

/** What happened to the page or its machine. */
export type Signal = "online" | "offline" | "shown" | "hidden";

/** The part of a WebSocket that the client uses. */
export interface SocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

/** The browser that the page runs in (or Node, which has no page). */
export function browserEnvironment(): Environment {
  const page = typeof document === "undefined" ? undefined : document;
  const world = typeof window === "undefined" ? undefined : window;
  return {
    ...(typeof WebSocket === "undefined" ? {} : { openSocket: (url: string) => new WebSocket(url) as SocketLike }),
    ...(typeof fetch === "undefined" ? {} : { fetch: (input, init) => fetch(input, init) }),
    random: Math.random,
    online: () => typeof navigator === "undefined" || navigator.onLine !== false,
    hidden: () => page?.visibilityState === "hidden",
    listen(heard) {
      const online = () => heard("online");
      const offline = () => heard("offline");
      const shown = () => heard("shown");
      const turned = () => heard(page?.visibilityState === "hidden" ? "hidden" : "shown");
      world?.addEventListener("online", online);
      world?.addEventListener("offline", offline);
      world?.addEventListener("pageshow", shown);
      page?.addEventListener("visibilitychange", turned);
      page?.addEventListener("resume", shown);
      return () => {
        world?.removeEventListener("online", online);
        world?.removeEventListener("offline", offline);
        world?.removeEventListener("pageshow", shown);
        page?.removeEventListener("visibilitychange", turned);
        page?.removeEventListener("resume", shown);
      };
    },
  };
}
