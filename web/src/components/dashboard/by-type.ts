/** How operations went, by their type: computed from the operations themselves. */
import { isActive, type Operation } from "../../client/index.js";
import { fetchOperations } from "../api.js";

/** Operations that are read at most; what is shown says so when there are more. */
export const MOST_OPERATIONS = 5_000;
const PAGE = 500;

/** How the operations of one type went. */
export interface TypeStatistics {
  readonly type: string;
  readonly operations: number;
  readonly completed: number;
  readonly failed: number;
  /** 100 * completed / (completed + failed); null where none did. */
  readonly successRatePercent: number | null;
  readonly averageSeconds: number | null;
  readonly p95Seconds: number | null;
  /** The most that ran at the same instant. */
  readonly peakConcurrency: number;
}

/** The operations created since an instant, the newest first, and whether these are all of them. */
export async function fetchSince(
  base: URL,
  since: number,
  signal: AbortSignal,
): Promise<{ readonly rows: readonly Operation[]; readonly all: boolean }> {
  const rows: Operation[] = [];
  const query = new URLSearchParams({ created_after: new Date(since).toISOString(), limit: String(PAGE) });
  for (;;) {
    const page = await fetchOperations(base, query, signal);
    rows.push(...page.rows);
    if (page.next === null) return { rows, all: true };
    if (rows.length >= MOST_OPERATIONS) return { rows, all: false };
    query.set("page", page.next);
  }
}

/** The statistics of each type, the most frequent first. */
export function statisticsByType(rows: readonly Operation[], now: number): TypeStatistics[] {
  const groups = new Map<string, Operation[]>();
  for (const row of rows) {
    const group = groups.get(row.operation_type);
    if (group) group.push(row);
    else groups.set(row.operation_type, [row]);
  }
  const all = [...groups].map(([type, group]) => statistics(type, group, now));
  return all.sort((a, b) => b.operations - a.operations || (a.type < b.type ? -1 : 1));
}

function statistics(type: string, rows: readonly Operation[], now: number): TypeStatistics {
  const completed = rows.filter((row) => row.status === "completed").length;
  const failed = rows.filter((row) => row.status === "failed").length;
  const durations = rows
    .filter((row) => row.status === "completed" || row.status === "failed")
    .flatMap((row) => (row.duration_seconds === null ? [] : [row.duration_seconds]))
    .sort((a, b) => a - b);
  return {
    type,
    operations: rows.length,
    completed,
    failed,
    successRatePercent: completed + failed === 0 ? null : (100 * completed) / (completed + failed),
    averageSeconds: durations.length === 0 ? null : durations.reduce((sum, each) => sum + each, 0) / durations.length,
    p95Seconds: percentile(durations, 0.95),
    peakConcurrency: peak(rows, now),
  };
}

/** As `percentile_cont` of SQL: between the two nearest values. */
export function percentile(sorted: readonly number[], fraction: number): number | null {
  if (sorted.length === 0) return null;
  const place = fraction * (sorted.length - 1);
  const below = sorted[Math.floor(place)] as number;
  const above = sorted[Math.ceil(place)] as number;
  return below + (above - below) * (place - Math.floor(place));
}

/** The most that ran at the same instant; one that begins when another ends counts beside it. */
function peak(rows: readonly Operation[], now: number): number {
  const steps = rows.flatMap((row) => {
    if (row.started_at === null || row.status === "pending") return [];
    const end = isActive(row.status) ? now : Date.parse(row.completed_at ?? "");
    const begin = Date.parse(row.started_at);
    return Number.isNaN(end) || end < begin ? [] : [[begin, 1] as const, [end, -1] as const];
  });
  steps.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
  let running = 0;
  let most = 0;
  for (const [, step] of steps) {
    running += step;
    most = Math.max(most, running);
  }
  return most;
}
