/** What the dashboard's views share. */
import { css, html, nothing, type TemplateResult } from "lit";
import { RelayElement } from "../element.js";
import { type IconName, icon } from "../icons.js";
import { parts, theme } from "../theme.js";

export abstract class DashboardPage extends RelayElement {
  static override properties = { query: { attribute: false }, base: { type: String } };
  /** The query of the view's URL. */
  declare query: URLSearchParams;
  /** Where the dashboard's URLs begin. */
  declare base: string;

  constructor() {
    super();
    this.query = new URLSearchParams();
    this.base = "/";
  }

  /** Goes to another URL of the dashboard. */
  protected go(path: string, replace = false): void {
    const detail = { path, replace };
    this.dispatchEvent(new CustomEvent("go", { detail, bubbles: true, composed: true }));
  }

  /** Changes the query of the view's URL; an empty value takes the field out. */
  protected refine(fields: Readonly<Record<string, string | null>>, replace = true): void {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(fields)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const text = query.toString();
    this.go(`${this.path}${text ? `?${text}` : ""}`, replace);
  }

  /** The view's path. */
  protected abstract readonly path: string;
}

/** What stands where nothing can be shown: why, and what can be done. */
export function emptiness(name: IconName, title: unknown, text: unknown, more: unknown = nothing): TemplateResult {
  return html`<div class="empty">${icon(name)}<strong>${title}</strong><p>${text}</p>${more}</div>`;
}

/** A table that is still coming, as tall as what will stand there. */
export function skeletonRows(rows: number): TemplateResult {
  return html`<div class="skeletons" aria-busy="true">
    <span class="hidden-visually">Loading…</span>
    ${Array.from({ length: rows }, () => html`<div class="skeleton"></div>`)}
  </div>`;
}

export const pageStyles = [
  theme,
  parts,
  css`
    :host {
      display: grid;
      grid-template-columns: minmax(0, 1fr);
      gap: 16px;
      align-content: start;
      min-width: 0;
    }
    h1 {
      font-size: 20px;
      line-height: 1.3;
      letter-spacing: -0.01em;
    }
    h2 {
      font-size: 14.5px;
    }
    h1:focus {
      outline: none;
    }
    .heading {
      display: flex;
      flex-wrap: wrap;
      gap: 6px 14px;
      align-items: center;
      justify-content: space-between;
      min-height: 34px;
    }
    .card > header {
      display: flex;
      flex-wrap: wrap;
      justify-content: space-between;
      align-items: center;
      gap: 4px 12px;
      padding: 11px 16px;
      border-bottom: 1px solid var(--_border);
    }
    .skeletons {
      display: grid;
      gap: 14px;
      padding: 16px;
    }
    .skeletons .skeleton {
      height: 22px;
    }
    .scroll {
      overflow-x: auto;
    }
    table {
      border-collapse: collapse;
      width: 100%;
    }
    th {
      text-align: start;
      font-size: 12.5px;
      font-weight: 600;
      color: var(--_muted);
      padding: 8px 10px;
      border-bottom: 1px solid var(--_border);
      white-space: nowrap;
      background: var(--_surface);
    }
    td {
      padding: 7px 10px;
      border-bottom: 1px solid var(--_border);
      vertical-align: baseline;
      max-width: 340px;
    }
    /* Takes what the others leave, and gives way first. */
    td.said {
      width: 40%;
      max-width: 0;
    }
    th:first-child,
    td:first-child {
      padding-inline-start: 16px;
    }
    th:last-child,
    td:last-child {
      padding-inline-end: 16px;
    }
    tbody tr:last-child td {
      border-bottom: 0;
    }
    th.num,
    td.num {
      text-align: end;
    }
    .note {
      padding: 10px 16px;
      font-size: 13px;
      color: var(--_muted);
    }
    .problem {
      display: flex;
      flex-wrap: wrap;
      gap: 8px 12px;
      align-items: center;
      padding: 10px 16px;
      color: var(--_bad);
      border-bottom: 1px solid var(--_border);
    }
  `,
];
