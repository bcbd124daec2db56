/**
 * Filters on the client's side: needed where one stream feeds several views, which is so over SSE, where a stream
 * cannot take further subscriptions.
 */
import type { Connection, Filter, Operation, Topic } from "./types.js";

const ALL_TOPICS: readonly Topic[] = ["operations", "errors", "connections", "health"];
const LISTS = ["operation_id", "owner", "operation_type", "status", "source"] as const;

/** The same text for filters that ask for the same, so that equal views can be shared. */
export function filterKey(filter: Filter): string {
  const sorted = (list?: readonly string[]) => (list ? [...list].sort() : null);
  return JSON.stringify([
    sorted(topicsOf(filter)),
    ...LISTS.map((name) => sorted(filter[name])),
    filter.mode ?? "latest",
  ]);
}

/** The topics that a filter asks for; by the relay's rule, one that is about operations asks for those alone. */
export function topicsOf(filter: Filter): readonly Topic[] {
  if (filter.topics) return filter.topics;
  return filter.operation_id || filter.owner || filter.operation_type ? ALL_TOPICS.slice(0, 2) : ALL_TOPICS;
}

/** The smallest filter that covers all the given ones. */
export function unionOf(filters: readonly Filter[]): Filter {
  const union: { -readonly [K in keyof Filter]: Filter[K] } = {
    topics: ALL_TOPICS.filter((topic) => filters.some((filter) => topicsOf(filter).includes(topic))),
  };
  for (const name of LISTS) {
    if (filters.every((filter) => filter[name] !== undefined)) {
      union[name] = [...new Set(filters.flatMap((filter) => filter[name] ?? []))];
    }
  }
  if (filters.some((filter) => filter.mode === "every")) union.mode = "every";
  return union;
}

/** The filter as the query of `/ws` and `/events`. */
export function filterQuery(filter: Filter): URLSearchParams {
  const query = new URLSearchParams();
  for (const name of ["topics", ...LISTS] as const) {
    const list = filter[name];
    if (list) query.set(name, list.length > 0 ? list.join(",") : "none");
  }
  if (filter.mode) query.set("mode", filter.mode);
  return query;
}

function admits(list: readonly string[] | undefined, value: string | null): boolean {
  return list === undefined || (value !== null && list.includes(value));
}

/** Whether an operation is what the filter asks for. */
export function matchesOperation(filter: Filter, row: Operation): boolean {
  return (
    topicsOf(filter).includes("operations") &&
    admits(filter.operation_id, row.id) &&
    admits(filter.owner, row.owner) &&
    admits(filter.operation_type, row.operation_type) &&
    admits(filter.status, row.status) &&
    admits(filter.source, row.source)
  );
}

/** Whether a connection is what the filter asks for. */
export function matchesConnection(filter: Filter, row: Connection): boolean {
  return (
    topicsOf(filter).includes("connections") && admits(filter.status, row.status) && admits(filter.source, row.source)
  );
}
