import { css, html, nothing } from "lit";
import { isActive, type Operation } from "../client/index.js";
import { define, LIVE, RelayElement } from "./element.js";
import { count, lookOfRelay } from "./format.js";
import { icon } from "./icons.js";
import { operationBlock, operationStyles } from "./operation.js";
import { parts, theme } from "./theme.js";
import "./time.js";

/** How many operations the open widget shows. */
const SHOWN = 5;
/** How long a completed operation stays, in ms. */
const LINGER_MS = 6_000;

/**
 * `<bellwether-widget>`: a floating button with the number of active operations, which opens to their progress.
 * `owner` and `operation-type` narrow it (lists separated by commas); `open` opens it; `--bw-widget-inset` moves it.
 */
export class FloatingWidget extends RelayElement {
  static override properties = {
    open: { type: Boolean, reflect: true },
    owner: { type: String },
    operationType: { type: String, attribute: "operation-type" },
    linger: { state: true },
  };
  declare open: boolean;
  declare owner: string | undefined;
  declare operationType: string | undefined;
  static override styles = [
    theme,
    parts,
    operationStyles,
    css`
      :host {
        position: fixed;
        inset: var(--bw-widget-inset, auto 16px 16px auto);
        z-index: 2147483000;
        display: grid;
        justify-items: end;
        gap: 8px;
        max-width: calc(100vw - 32px);
      }
      .panel {
        width: 340px;
        max-width: 100%;
        max-height: min(70vh, 520px);
        overflow: auto;
        box-shadow: var(--_shadow);
      }
      .head {
        display: flex;
        justify-content: space-between;
        align-items: center;
        padding: 8px 8px 8px 14px;
        border-bottom: 1px solid var(--_border);
        font-weight: 600;
      }
      .head button {
        border: 0;
        background: none;
        padding: 6px;
        min-height: 0;
      }
      li {
        padding: 11px 14px;
      }
      li + li {
        border-top: 1px solid var(--_border);
      }
      .more {
        padding: 9px 14px;
        border-top: 1px solid var(--_border);
        font-size: 13px;
      }
      .pill {
        border-radius: 999px;
        box-shadow: var(--_shadow);
        padding: 8px 14px;
        gap: 8px;
      }
      .pill .chip {
        font-size: 15px;
      }
    `,
  ];
  readonly #connection = this.followConnection();
  /** When each operation that ended here did, by this machine's clock. */
  readonly #endedAt = new Map<string, number>();
  readonly #view = this.follow(
    () => {
      const list = (text: string | undefined) =>
        text
          ?.split(",")
          .map((item) => item.trim())
          .filter(Boolean);
      const owner = list(this.owner);
      const type = list(this.operationType);
      return { ...LIVE, ...(owner ? { owner } : {}), ...(type ? { operation_type: type } : {}) };
    },
    (view) =>
      view.on("change", ({ event, previous }) => {
        if (event.topic !== "operations" || isActive(event.data.status) || !previous || !isActive(previous.status))
          return;
        this.#endedAt.set(event.entity, Date.now());
        setTimeout(() => {
          this.requestUpdate();
        }, LINGER_MS + 50);
      }),
  );

  constructor() {
    super();
    this.open = false;
  }

  protected override willUpdate(changed: Map<PropertyKey, unknown>): void {
    super.willUpdate(changed as never);
    if (this.hasUpdated && (changed.has("owner") || changed.has("operationType"))) this.reconnect();
  }

  /** Active ones, those that have just ended, and failed ones until the widget is closed. */
  #rows(): Operation[] {
    const now = Date.now();
    const stays = (row: Operation) => {
      if (isActive(row.status)) return true;
      const ended = this.#endedAt.get(row.id);
      return ended !== undefined && (row.status === "failed" || now - ended < LINGER_MS);
    };
    const rows = [...(this.#view.state?.operations.values() ?? [])].filter(stays);
    return rows.sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
  }

  protected override render(): unknown {
    const state = this.#connection();
    const look = lookOfRelay(state);
    const rows = this.#rows();
    const active = rows.filter((row) => isActive(row.status)).length;
    const failed = rows.filter((row) => row.status === "failed").length;
    const ready = this.#view.state?.ready ?? false;
    return html`
      ${this.open ? this.#panel(rows, look.label) : nothing}
      <button class="pill" aria-expanded=${this.open ? "true" : "false"} @click=${this.#toggle}>
        <span class="chip" data-tone=${failed > 0 ? "bad" : look.tone}>${icon(failed > 0 ? "cross" : look.icon)}</span>
        ${ready ? html`${count(active)} active${failed > 0 ? `, ${count(failed)} failed` : ""}` : look.label}
      </button>
    `;
  }

  #panel(rows: readonly Operation[], label: string) {
    const offset = this.#connection().clockOffsetMs;
    return html`<section class="card panel" aria-label="Operations" @keydown=${this.#key}>
      <div class="head">
        <span>Operations <span class="muted">· ${label}</span></span>
        <button aria-label="Close" @click=${this.#toggle}>${icon("close")}</button>
      </div>
      ${
        rows.length === 0
          ? html`<div class="empty">${icon("inbox")}<strong>Nothing is running</strong></div>`
          : html`<ul>${rows.slice(0, SHOWN).map((row) => html`<li>${operationBlock(row, offset)}</li>`)}</ul>`
      }
      ${rows.length > SHOWN ? html`<p class="more muted">and ${count(rows.length - SHOWN)} more</p>` : nothing}
    </section>`;
  }

  #toggle(): void {
    this.open = !this.open;
    if (!this.open) this.#endedAt.clear();
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== "Escape") return;
    this.#toggle();
    this.renderRoot.querySelector<HTMLElement>(".pill")?.focus();
  }
}

define("bellwether-widget", FloatingWidget);
