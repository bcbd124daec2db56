/** Health over time: read from the relay, with its gaps. */
import type { Health } from "../../client/index.js";
import { ask } from "../api.js";

/** The columns that are drawn. */
const COLUMNS = [
  "error_rate_percent",
  "score",
  "window_seconds",
  "completed_operations",
  "failed_operations",
  "cancelled_operations",
  "pending_operations",
  "running_operations",
  "paused_operations",
  "peak_concurrency",
] as const;

type Column = (typeof COLUMNS)[number];

/** What a chart is drawn of: times in seconds since 1970, and for each a value, or null where nothing is known. */
export interface Series {
  readonly times: readonly number[];
  readonly values: Readonly<Record<Column, readonly (number | null)[]>>;
  /** Where snapshots are missing, in seconds since 1970. */
  readonly gaps: readonly (readonly [from: number, to: number])[];
  /** How many snapshots it is made of. */
  readonly count: number;
}

/** A snapshot, as far as it is drawn. */
export type Point = Pick<Health, Column | "taken_at">;

/** Reads the scheduled snapshots since an instant: as CSV, which is a quarter of the JSON, and in one piece. */
export async function fetchPoints(base: URL, since: number, signal: AbortSignal): Promise<Point[]> {
  const query = new URLSearchParams({ taken_after: new Date(since).toISOString(), format: "csv" });
  const response = await ask(base, "api/snapshots", query, signal);
  return pointsOfCsv(await response.text());
}

/** The snapshots of a CSV with a header line, in order of time. */
export function pointsOfCsv(text: string): Point[] {
  const [header, ...lines] = text.split(/\r?\n/);
  const names = (header ?? "").split(",");
  const at = names.indexOf("taken_at");
  const places = COLUMNS.map((name) => [name, names.indexOf(name)] as const);
  const points = lines
    .filter((line) => line !== "")
    .map((line) => {
      const fields = line.split(",");
      const point: Record<string, unknown> = { taken_at: fields[at] };
      for (const [name, place] of places) point[name] = numberOf(fields[place]);
      return point as unknown as Point;
    });
  return points
    .filter((point) => !Number.isNaN(Date.parse(point.taken_at)))
    .sort((a, b) => (a.taken_at < b.taken_at ? -1 : 1));
}

function numberOf(field: string | undefined): number | null {
  return field === undefined || field === "" ? null : Number(field);
}

/** The points as series. Where more than the usual time lies between two of them nothing is known, and nothing drawn. */
export function seriesOf(points: readonly Point[]): Series {
  const times: number[] = [];
  const values = Object.fromEntries(COLUMNS.map((name) => [name, [] as (number | null)[]])) as Record<
    Column,
    (number | null)[]
  >;
  const gaps: [number, number][] = [];
  const instants = points.map((point) => Date.parse(point.taken_at) / 1000);
  const longest = 2.2 * usualStep(instants);
  points.forEach((point, index) => {
    const time = instants[index] as number;
    const before = instants[index - 1];
    if (before !== undefined && time - before > longest) {
      gaps.push([before, time]);
      times.push((before + time) / 2);
      for (const name of COLUMNS) values[name].push(null);
    }
    times.push(time);
    for (const name of COLUMNS) values[name].push(point[name]);
  });
  return { times, values, gaps, count: points.length };
}

/** The median time between two snapshots, in seconds; snapshots that people take in between do not shorten it much. */
function usualStep(instants: readonly number[]): number {
  const steps = instants.slice(1).map((time, index) => time - (instants[index] as number));
  steps.sort((a, b) => a - b);
  return steps[Math.floor(steps.length / 2)] ?? Number.POSITIVE_INFINITY;
}

/** Operations that ended, by the hour. */
export function throughput(series: Series): (number | null)[] {
  const { completed_operations, failed_operations, cancelled_operations, window_seconds } = series.values;
  return window_seconds.map((seconds, index) => {
    if (!seconds) return null;
    const ended =
      (completed_operations[index] ?? 0) + (failed_operations[index] ?? 0) + (cancelled_operations[index] ?? 0);
    return (ended * 3600) / seconds;
  });
}

/** Operations that were pending, in progress or paused. */
export function activity(series: Series): (number | null)[] {
  const { pending_operations, running_operations, paused_operations } = series.values;
  return running_operations.map((running, index) =>
    running === null ? null : running + (pending_operations[index] ?? 0) + (paused_operations[index] ?? 0),
  );
}
