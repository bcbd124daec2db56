import { css, html, LitElement, nothing, type PropertyValues } from "lit";
import { repeat } from "lit/directives/repeat.js";

import type { Operation } from "../../client/index.js";
import { define } from "../element.js";
import { count, lookOfOperation, percent, words } from "../format.js";
import { bar, chip, counts, isMeasured, items, remaining, speed } from "../progress.js";
import { styled } from "../styled.js";
import { parts, theme } from "../theme.js";
import "../time.js";

/** Below this width of the list a row has three lines, in px. */
const NARROW_PX = 800;
/** Height of a row in px; the styles below are made for it. */
const ROW_PX = { wide: 58, narrow: 92 };
/** Rows that are drawn beyond the visible ones, on either side. */
const MARGIN = 4;

/**
 * Operations, of which only the visible ones are drawn: thousands cost no more than a screenful. What the reader looks
 * at stays where it is when others come and go above it.
 */
export class ActiveList extends LitElement {
  static override properties = {
    rows: { attribute: false },
    offset: { type: Number },
    old: { type: Boolean },
    base: { type: String },
    from: { state: true },
    to: { state: true },
    narrow: { state: true },
  };
  declare rows: readonly Operation[];
  declare offset: number;
  /** What is shown is out of date: when it will end is anybody's guess. */
  declare old: boolean;
  declare base: string;
  declare from: number;
  declare to: number;
  declare narrow: boolean;
  static override styles = [
    theme,
    parts,
    css`
      :host {
        display: block;
      }
      .window {
        overflow-y: auto;
        max-height: var(--bw-list-height, max(320px, calc(100vh - 420px)));
        overscroll-behavior-y: contain;
        overflow-anchor: none;
      }
      ul {
        position: relative;
      }
      li {
        position: absolute;
        inset-inline: 0;
        top: 0;
        contain: strict;
        border-bottom: 1px solid var(--_border);
      }
      a {
        display: grid;
        grid-template-columns: minmax(0, 1.1fr) minmax(0, 1.9fr) 62px minmax(0, 1fr) 122px 116px;
        gap: 0 16px;
        align-items: center;
        height: 100%;
        padding: 0 16px;
        color: inherit;
        text-decoration: none;
      }
      a:hover {
        background: var(--_sunken);
      }
      a:hover .bar {
        background: var(--_border);
      }
      a:focus-visible {
        outline-offset: -2px;
      }
      .two {
        display: grid;
        gap: 2px;
        min-width: 0;
      }
      .two > :first-child {
        font-weight: 600;
      }
      .work {
        display: grid;
        gap: 6px;
        min-width: 0;
        font-size: 13px;
      }
      small {
        font-size: 12.5px;
        color: var(--_muted);
        min-height: 1.45em;
      }
      .narrow a {
        grid-template: "name state" auto "work work" auto "item left" auto / minmax(0, 1fr) auto;
        gap: 5px 12px;
        padding: 9px 14px;
        align-content: center;
      }
      .narrow .name {
        grid-area: name;
        display: flex;
        gap: 8px;
        align-items: baseline;
      }
      .narrow .state {
        grid-area: state;
      }
      .narrow .work {
        grid-area: work;
        grid-template-columns: minmax(0, 1fr) 52px;
        align-items: center;
        gap: 2px 10px;
      }
      .narrow .item {
        grid-area: item;
      }
      .narrow .left {
        grid-area: left;
        font-size: 12.5px;
      }
    `,
  ];
  #resize: ResizeObserver | undefined;
  /** The first row that the reader sees, to keep it in its place. */
  #anchor: { id: string; above: number } | null = null;

  constructor() {
    super();
    this.rows = [];
    this.offset = 0;
    this.old = false;
    this.base = "/";
    this.from = 0;
    this.to = 12;
    this.narrow = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#resize = new ResizeObserver(() => {
      this.narrow = this.clientWidth < NARROW_PX;
      this.#look();
    });
    this.#resize.observe(this);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#resize?.disconnect();
  }

  get #height(): number {
    return this.narrow ? ROW_PX.narrow : ROW_PX.wide;
  }

  get #window(): HTMLElement | null {
    return this.renderRoot.querySelector(".window");
  }

  /** Which rows are visible now. */
  #look(): void {
    const pane = this.#window;
    if (!pane) return;
    const first = Math.floor(pane.scrollTop / this.#height);
    this.from = Math.max(0, first - MARGIN);
    this.to = Math.ceil((pane.scrollTop + pane.clientHeight) / this.#height) + MARGIN;
    const row = this.rows[first];
    this.#anchor = row && pane.scrollTop > 0 ? { id: row.id, above: pane.scrollTop - first * this.#height } : null;
  }

  protected override updated(changed: PropertyValues<this>): void {
    const pane = this.#window;
    if (!pane || !changed.has("rows")) return;
    if (this.#anchor) {
      const { id, above } = this.#anchor;
      const at = this.rows.findIndex((row) => row.id === id);
      const top = at * this.#height + above;
      if (at >= 0 && Math.abs(pane.scrollTop - top) > 1) pane.scrollTop = top;
    }
    this.#look();
  }

  protected override render(): unknown {
    const height = this.#height;
    const visible = this.rows.slice(this.from, this.to).map((row, index) => ({ row, at: this.from + index }));
    // Without a scroll bar there is nothing to reach by keyboard.
    return html`<div
      class="window ${this.narrow ? "narrow" : ""}"
      tabindex=${this.rows.length > 4 ? "0" : nothing}
      role=${this.rows.length > 4 ? "region" : nothing}
      aria-label=${this.rows.length > 4 ? "List of active operations" : nothing}
      @scroll=${this.#look}
    >
      <ul role="list" ${styled({ height: `${this.rows.length * height}px` })}>
        ${repeat(
          visible,
          ({ row }) => row.id,
          ({ row, at }) => html`<li
            role="listitem"
            aria-setsize=${this.rows.length}
            aria-posinset=${at + 1}
            ${styled({ height: `${height}px`, transform: `translateY(${at * height}px)` })}
          >
            ${this.#row(row)}
          </li>`,
        )}
      </ul>
    </div>`;
  }

  #row(row: Operation) {
    const item = row.current_item ?? row.message ?? "";
    const failed = counts(row).find(({ name }) => name === "failed");
    const share = isMeasured(row) ? percent(row.progress) : "";
    return html`<a href="${this.base}operations/${encodeURIComponent(row.id)}">
      <span class="two name">
        <span class="clip">${words(row.operation_type)}</span>
        <small class="clip">${row.owner ?? row.source ?? "no owner"}</small>
      </span>
      <span class="work">
        ${bar(row)}
        ${this.narrow ? html`<span class="num">${share}&nbsp;</span>` : html`<small class="clip" title=${item || nothing}>${item}</small>`}
      </span>
      ${
        this.narrow
          ? html`<small class="clip item" title=${item || nothing}>${[items(row), item].filter(Boolean).join(" · ")}</small>`
          : html`<span class="num">${share}</span>
              <span class="two">
                <span class="clip">${items(row)}</span>
                <small class="clip">${speed(row)}${failed ? html` · ${count(failed.value)} failed` : nothing}</small>
              </span>`
      }
      <span class="num left muted">${this.old && row.status === "in_progress" ? nothing : remaining(row, this.offset)}</span>
      <span class="state">${chip(lookOfOperation(row))}</span>
    </a>`;
  }
}

define("bellwether-active-list", ActiveList);
