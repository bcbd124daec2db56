/** The pieces of which everything about an operation is drawn. */
import { html, nothing, type TemplateResult } from "lit";

import { isActive, type Operation } from "../client/index.js";
import { count, duration, type Look, lookOfOperation, percent, rate, words } from "./format.js";
import { icon } from "./icons.js";
import { styled } from "./styled.js";

/** A state as a chip: icon and word in the colour of its meaning. */
export function chip(look: Look): TemplateResult {
  return html`<span class="chip" data-tone=${look.tone}>${icon(look.icon)}${look.label}</span>`;
}

/** Whether there is a percentage to show. */
export function isMeasured(row: Operation): boolean {
  return row.total_items !== null || row.progress > 0 || row.status === "completed";
}

/** The bar: as long as the progress, or drifting while the total is unknown. */
export function bar(row: Operation): TemplateResult {
  const measured = isMeasured(row);
  const running = row.status === "in_progress" && !row.stalled_since;
  const label = `Progress of ${words(row.operation_type)}`;
  const fill = measured ? { transform: `scaleX(${row.progress / 100})` } : {};
  return html`<div
    class="bar ${!measured && running ? "unknown" : ""}"
    data-tone=${lookOfOperation(row).tone}
    role="progressbar"
    aria-label=${label}
    aria-valuemin="0"
    aria-valuemax="100"
    aria-valuenow=${measured ? Math.round(row.progress) : nothing}
    aria-valuetext=${measured ? percent(row.progress) : "total unknown"}
  >
    ${measured || running ? html`<i ${styled(fill)}></i>` : nothing}
  </div>`;
}

/** "12 of 340", or what is known of it. */
export function items(row: Operation): string {
  if (row.total_items !== null) return `${count(row.processed_items)} of ${count(row.total_items)}`;
  return row.processed_items > 0 ? `${count(row.processed_items)} so far` : "";
}

/** The time that is left, or why there is none. */
export function remaining(row: Operation, offset: number): TemplateResult | string {
  if (row.status === "pending") return "waiting";
  if (row.status === "paused") return "paused";
  if (row.stalled_since) {
    return html`silent <bellwether-time mode="since" .at=${row.stalled_since} .offset=${offset}></bellwether-time>`;
  }
  if (!isActive(row.status)) return row.duration_seconds === null ? "" : `took ${duration(row.duration_seconds)}`;
  if (row.estimated_completion_at === null) return "";
  return html`<bellwether-time mode="left" .at=${row.estimated_completion_at} .offset=${offset}></bellwether-time>`;
}

/** The rate while it runs. */
export function speed(row: Operation): string {
  return row.status === "in_progress" && !row.stalled_since && row.items_per_second ? rate(row.items_per_second) : "";
}

const COUNTS = [
  ["inserted_items", "inserted"],
  ["updated_items", "updated"],
  ["deleted_items", "deleted"],
  ["kept_items", "kept"],
  ["skipped_items", "skipped"],
  ["failed_items", "failed"],
] as const;

/** What became of the items: those counts that are not zero, or all of them. */
export function counts(row: Operation, all = false): { readonly name: string; readonly value: number }[] {
  return COUNTS.map(([field, name]) => ({ name, value: row[field] })).filter(({ value }) => all || value > 0);
}
