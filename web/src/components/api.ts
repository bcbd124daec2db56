/** The relay's read API. */
import type { Operation, OperationError, SyncEvent } from "../client/index.js";

/** An answer that is none, in words. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Asks the relay; a refusal becomes an `ApiError` with what the relay says. */
export async function ask(base: URL, path: string, query?: URLSearchParams, signal?: AbortSignal): Promise<Response> {
  const url = new URL(path, base);
  if (query) url.search = query.toString();
  let response: Response;
  try {
    response = await fetch(url, { ...(signal ? { signal } : {}), headers: { Accept: "application/json" } });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "The relay does not answer.");
  }
  if (response.ok) return response;
  const problem = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  const words = problem.detail ?? problem.message ?? problem.error ?? problem.title;
  throw new ApiError(response.status, typeof words === "string" ? words : `The relay answered ${response.status}.`);
}

/** A page of rows, and how to ask for the next. */
export interface Page<T> {
  readonly rows: readonly T[];
  readonly next: string | null;
}

/** A page of operations. */
export async function fetchOperations(
  base: URL,
  query: URLSearchParams,
  signal?: AbortSignal,
): Promise<Page<Operation>> {
  const body = (await (await ask(base, "api/operations", query, signal)).json()) as {
    operations: Operation[];
    next?: string | null;
  };
  return { rows: body.operations, next: body.next ?? null };
}

/** One operation with the errors of its items; null where there is none of that id. */
export async function fetchOperation(
  base: URL,
  id: string,
  signal?: AbortSignal,
): Promise<{ readonly operation: Operation; readonly errors: readonly OperationError[] } | null> {
  try {
    const response = await ask(base, `api/operations/${encodeURIComponent(id)}`, undefined, signal);
    const { errors, ...operation } = (await response.json()) as Operation & { errors?: OperationError[] };
    return { operation, errors: errors ?? [] };
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 400)) return null;
    throw error;
  }
}

/** The events of an operation that are still kept. */
export interface Timeline {
  readonly events: readonly SyncEvent[];
  /** From when on nothing is missing; null where nothing is missing at all. */
  readonly completeFrom: string | null;
  /** How to ask for older ones; null where there are none. */
  readonly next: string | null;
}

/** A page of an operation's events, the newest first. */
export async function fetchTimeline(
  base: URL,
  id: string,
  page: string | null,
  signal?: AbortSignal,
): Promise<Timeline> {
  const query = new URLSearchParams({ sort: "-id", limit: "200" });
  if (page) query.set("page", page);
  const path = `api/operations/${encodeURIComponent(id)}/events`;
  const response = await ask(base, path, query, signal).catch((error) => {
    if (error instanceof ApiError && (error.status === 404 || error.status === 400) && !page) return null;
    throw error;
  });
  if (!response) return { events: [], completeFrom: null, next: null };
  const body = (await response.json()) as { events: SyncEvent[]; next?: string | null; complete_from?: string | null };
  return { events: body.events, completeFrom: body.complete_from ?? null, next: body.next ?? null };
}

/** How operations went within a span of time; one that goes on counts among the started ones. */
export interface Outcome {
  readonly started: number;
  readonly completed: number;
  readonly failed: number;
  readonly cancelled: number;
  /** completed / (completed + failed), 0 to 1; null where none did. */
  readonly success_rate: number | null;
  readonly duration_seconds_average: number | null;
  readonly duration_seconds_p95: number | null;
  /** The most that ran at the same instant. */
  readonly peak_concurrency: number;
}

/** How the operations went: of each type, the most frequent first, and in all. */
export interface Statistics {
  readonly by_operation_type: readonly (Outcome & { readonly operation_type: string })[];
  readonly total: Outcome;
}

/** The statistics of the time since an instant, in ms since 1970. */
export async function fetchStatistics(base: URL, since: number, signal: AbortSignal): Promise<Statistics> {
  const query = new URLSearchParams({ since: new Date(since).toISOString() });
  return (await ask(base, "api/statistics", query, signal)).json();
}
