/** The dashboard's views and their URLs. */

/** Where the reader is. */
export type Route =
  | { readonly name: "now" | "history" | "health" | "connections"; readonly query: URLSearchParams }
  | { readonly name: "operation"; readonly id: string; readonly query: URLSearchParams }
  | { readonly name: "unknown"; readonly path: string; readonly query: URLSearchParams };

const PLACES = { "": "now", history: "history", health: "health", connections: "connections" } as const;

/** The view of a path below `base`. */
export function routeOf(url: URL, base: string): Route {
  const query = url.searchParams;
  const path = url.pathname.startsWith(base) ? url.pathname.slice(base.length).replace(/\/+$/, "") : url.pathname;
  if (Object.hasOwn(PLACES, path)) return { name: PLACES[path as keyof typeof PLACES], query };
  const id = /^operations\/([^/]+)$/.exec(path)?.[1];
  if (id !== undefined) return { name: "operation", id: safeDecode(id), query };
  return { name: "unknown", path, query };
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Where the URLs are kept: in the page's own address, or, embedded, in memory. */
export interface Places {
  current(): URL;
  go(url: URL, replace: boolean): void;
  /** Calls back when the reader goes back or forth; returns how to stop. */
  listen(moved: () => void): () => void;
}

export const pageHistory: Places = {
  current: () => new URL(location.href),
  go: (url, replace) => (replace ? history.replaceState(null, "", url) : history.pushState(null, "", url)),
  listen(moved) {
    addEventListener("popstate", moved);
    return () => removeEventListener("popstate", moved);
  },
};

/** An address of its own, for a dashboard that is part of somebody else's page. */
export function memoryHistory(base: string): Places {
  let at = new URL(base, location.origin);
  return {
    current: () => at,
    go: (url) => {
      at = url;
    },
    listen: () => () => undefined,
  };
}
