/** Numbers, times and states as people read them, in the reader's own locale. */
import type { ConnectionState, ConnectionStatus, HealthStatus, Operation, OperationStatus } from "../client/index.js";
import type { IconName } from "./icons.js";

/** A colour's meaning. */
export type Tone = "ok" | "warn" | "bad" | "info" | "muted";

/** How a state looks. It is never told by colour alone. */
export interface Look {
  readonly label: string;
  readonly tone: Tone;
  readonly icon: IconName;
}

const OPERATION_LOOKS: Record<OperationStatus, Look> = {
  pending: { label: "Pending", tone: "muted", icon: "wait" },
  in_progress: { label: "In progress", tone: "info", icon: "run" },
  paused: { label: "Paused", tone: "warn", icon: "pause" },
  completed: { label: "Completed", tone: "ok", icon: "check" },
  failed: { label: "Failed", tone: "bad", icon: "cross" },
  cancelled: { label: "Cancelled", tone: "muted", icon: "stop" },
};

const HEALTH_LOOKS: Record<HealthStatus, Look> = {
  healthy: { label: "Healthy", tone: "ok", icon: "check" },
  warning: { label: "Warning", tone: "warn", icon: "warn" },
  critical: { label: "Critical", tone: "bad", icon: "cross" },
  active: { label: "Active", tone: "info", icon: "run" },
  idle: { label: "Idle", tone: "muted", icon: "wait" },
};

const CONNECTION_LOOKS: Record<ConnectionStatus, Look> = {
  connected: { label: "Connected", tone: "ok", icon: "link" },
  disconnected: { label: "Disconnected", tone: "muted", icon: "unlink" },
  reconnecting: { label: "Reconnecting", tone: "warn", icon: "wait" },
  error: { label: "Error", tone: "bad", icon: "cross" },
};

const unknownLook = (label: string): Look => ({ label, tone: "muted", icon: "wait" });

/** The look of an operation; a stalled one says so. */
export function lookOfOperation(row: Pick<Operation, "status" | "stalled_since">): Look {
  if (row.stalled_since && row.status === "in_progress") return { label: "Stalled", tone: "warn", icon: "warn" };
  return OPERATION_LOOKS[row.status] ?? unknownLook(row.status);
}

/** The look of a health status; unknown before the first snapshot. */
export function lookOfHealth(status: HealthStatus | undefined): Look {
  return status === undefined ? unknownLook("Not known yet") : (HEALTH_LOOKS[status] ?? unknownLook(status));
}

/** The look of a watched connection. */
export function lookOfConnection(status: ConnectionStatus): Look {
  return CONNECTION_LOOKS[status] ?? unknownLook(status);
}

/** The truth about the page's own connection, in a word or two. Staleness outweighs everything. */
export function lookOfRelay(state: ConnectionState): Look {
  if (state.phase === "refused") return { label: "Refused", tone: "bad", icon: "cross" };
  if (state.staleSince !== null) return { label: "Stale", tone: "bad", icon: "warn" };
  switch (state.phase) {
    case "live":
      return { label: "Live", tone: "ok", icon: "check" };
    case "catching_up":
      return { label: "Catching up", tone: "info", icon: "wait" };
    case "degraded":
      return { label: "Degraded", tone: "warn", icon: "warn" };
    case "offline":
      return { label: "Offline", tone: "bad", icon: "unlink" };
    case "reconnecting":
      return { label: "Reconnecting", tone: "warn", icon: "unlink" };
    case "connecting":
      return { label: "Connecting", tone: "muted", icon: "wait" };
    case "stopped":
      return { label: "Disconnected", tone: "muted", icon: "unlink" };
  }
}

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const fixed = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const precise = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
});
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const long = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});

/** What stands where a value is not known. */
export const UNKNOWN = "–";

/** A number of things, shortened from a million on. */
export function count(value: number | null | undefined): string {
  if (value === null || value === undefined) return UNKNOWN;
  return Math.abs(value) >= 1_000_000 ? compact.format(value) : whole.format(value);
}

/** To the last digit, where there is room for it. */
export function exactly(value: number): string {
  return whole.format(value);
}

/** A number with at most one digit behind the point. */
export function decimal(value: number | null | undefined): string {
  return value === null || value === undefined ? UNKNOWN : tenths.format(value);
}

/** A percentage. Never rounded up to 100, nor down to 0: those two are promises. */
export function percent(value: number | null | undefined): string {
  if (value === null || value === undefined) return UNKNOWN;
  const shown = value > 99.9 && value < 100 ? 99.9 : value < 0.1 && value > 0 ? 0.1 : value;
  return `${shown === 0 || shown === 100 ? shown : fixed.format(shown)} %`;
}

/** Items a second, a minute or an hour, whichever reads well. */
export function rate(perSecond: number | null | undefined): string {
  if (perSecond === null || perSecond === undefined || perSecond <= 0) return UNKNOWN;
  if (perSecond >= 1) return `${perSecond >= 100 ? count(perSecond) : tenths.format(perSecond)}/s`;
  if (perSecond * 60 >= 1) return `${tenths.format(perSecond * 60)}/min`;
  return `${tenths.format(perSecond * 3600)}/h`;
}

/** A length of time in its two largest units. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return UNKNOWN;
  if (seconds < 1) return `${whole.format(Math.max(0, seconds) * 1000)} ms`;
  if (seconds < 10) return `${tenths.format(seconds)} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return pair(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86_400) return pair(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return pair(Math.floor(s / 86_400), "d", Math.floor((s % 86_400) / 3600), "h");
}

function pair(large: number, unit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${unit}` : `${large} ${unit} ${small} ${smallUnit}`;
}

/** How long ago, or in how long. */
export function distance(instant: number, now: number): string {
  const seconds = (instant - now) / 1000;
  const size = Math.abs(seconds);
  if (size < 1) return "now";
  const unit = size < 60 ? 1 : size < 3600 ? 60 : 3600;
  const text = duration(Math.round(size / unit) * unit);
  return seconds < 0 ? `${text} ago` : `in ${text}`;
}

/** The time of day; the day too, where it is another one. */
export function moment(instant: number, now: number): string {
  const age = Math.abs(now - instant);
  if (age < 12 * 3_600_000 && new Date(instant).getDate() === new Date(now).getDate()) return clock.format(instant);
  return age < 300 * 86_400_000 ? day.format(instant) : long.format(instant);
}

/** The same with milliseconds where only the time of day is shown: for what follows in quick succession. */
export function preciseMoment(instant: number, now: number): string {
  const text = moment(instant, now);
  return text === clock.format(instant) ? precise.format(instant) : text;
}

/** The exact instant, for hovering: local time with its zone, and the instant as the database has it. */
export function exact(iso: string): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  return `${date.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" })}\n${iso}`;
}

/** An instant as a field for local times has it: to the minute, and further only where it is between two. */
export function localTime(iso: string): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "";
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 23);
  return local.replace(/(:00)?\.000$/, "");
}

/** `full_sync` as people write it. */
export function words(name: string): string {
  const text = name.replace(/_/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** What the relay or the browser said, as a sentence. */
export function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

const BROWSERS = [
  ["Edg", "Edge"],
  ["OPR", "Opera"],
  ["Firefox", "Firefox"],
  ["Chrome", "Chrome"],
  ["Version", "Safari"],
] as const;
const SYSTEMS = ["Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux"] as const;

/** Who a `User-Agent` most probably is: browsers all begin with the same long tale, others name themselves. */
export function agent(header: string): string {
  if (!header.startsWith("Mozilla/")) return header;
  const browser = BROWSERS.map(([token, name]) => [name, new RegExp(`\\b${token}/(\\d+)`).exec(header)?.[1]] as const);
  const [name, version] = browser.find(([, found]) => found !== undefined) ?? [];
  if (!name) return header;
  const system = SYSTEMS.find((each) => header.includes(each));
  return `${name} ${version}${system ? ` on ${system.replace("Mac OS X", "macOS")}` : ""}`;
}
