import { css, html, nothing, type TemplateResult } from "lit";
import { isActive, type Operation, type OperationError } from "../client/index.js";
import { fetchOperation } from "./api.js";
import { define, RelayElement } from "./element.js";
import { count, lookOfOperation, percent, words } from "./format.js";
import { bar, chip, counts, isMeasured, items, remaining, speed } from "./progress.js";
import { styled } from "./styled.js";
import { parts, theme } from "./theme.js";
import "./time.js";

/** How the progress of one operation is drawn, wherever it is. */
export const operationStyles = css`
  .operation {
    display: grid;
    gap: 7px;
    min-width: 0;
  }
  .top,
  .detail {
    display: flex;
    align-items: baseline;
    gap: 4px 12px;
    justify-content: space-between;
    min-width: 0;
  }
  .detail {
    color: var(--_muted);
    font-size: 13px;
    min-height: 1.45em;
  }
  .top .name {
    font-weight: 600;
  }
  .top b {
    white-space: nowrap;
  }
  .counts {
    display: flex;
    flex-wrap: wrap;
    gap: 2px 12px;
    font-size: 13px;
    color: var(--_muted);
  }
  .counts b {
    display: inline-block;
    text-align: end;
    color: var(--_text);
    font-weight: 600;
  }
  .error {
    color: var(--_bad);
    font-size: 13px;
    overflow-wrap: anywhere;
  }
`;

/** The progress of one operation as a block of lines whose places stay the same while numbers change. */
export function operationBlock(row: Operation, offset: number, title?: TemplateResult): TemplateResult {
  // What it is at while it runs, what it said in the end.
  const detail = (isActive(row.status) ? (row.current_item ?? row.message) : (row.message ?? row.current_item)) ?? "";
  return html`<div class="operation">
    <div class="top">
      <span class="name clip">${title ?? words(row.operation_type)}</span>
      ${isActive(row.status) && isMeasured(row) && !row.stalled_since ? html`<b>${percent(row.progress)}</b>` : chip(lookOfOperation(row))}
    </div>
    ${bar(row)}
    <div class="detail">
      <span class="clip" title=${detail || nothing}>${detail}</span>
      <span class="num">${remaining(row, offset)}</span>
    </div>
    ${numbers(row)}
    ${row.status === "failed" ? html`<p class="error">${row.error ?? "It failed without saying why."}</p>` : nothing}
  </div>`;
}

/** What has been done so far; each number has the room that it may come to need, so that those behind it stay put. */
function numbers(row: Operation): TemplateResult {
  const digits = count(row.total_items ?? row.processed_items).length;
  const wide = (characters: number) => styled({ "min-inline-size": `${characters}ch` });
  return html`<div class="counts">
    ${items(row) ? html`<span ${wide(row.total_items === null ? digits + 6 : 2 * digits + 3)}>${items(row)}</span>` : nothing}
    ${speed(row) ? html`<span ${wide(7)}>${speed(row)}</span>` : nothing}
    ${counts(row).map(({ name, value }) => html`<span><b ${wide(digits)}>${count(value)}</b> ${name}</span>`)}
  </div>`;
}

/** How long an operation that completed stays, in seconds. */
const LINGER_SECONDS = 10;

/**
 * `<bellwether-operation operation-id="…">`: the progress of one operation. One that completes or is cancelled before the
 * reader's eyes stays for a moment (`linger` seconds), a failed one stays with its error, and so does one that had ended
 * before. Fires `complete`, `error` and `cancel` with the operation as `detail`.
 */
export class OperationProgress extends RelayElement {
  static override properties = {
    operationId: { type: String, attribute: "operation-id" },
    linger: { type: Number },
    fetched: { state: true },
    gone: { state: true },
  };
  declare operationId: string | undefined;
  declare linger: number;
  /** The row by the read API, where it ended too long ago for the live view. */
  declare fetched: Operation | "missing" | undefined;
  declare gone: boolean;
  static override styles = [
    theme,
    parts,
    operationStyles,
    css`
      :host {
        display: block;
        min-width: 0;
      }
      .card {
        padding: 12px 14px;
      }
      details {
        margin-top: 8px;
        font-size: 13px;
      }
      li {
        overflow-wrap: anywhere;
        padding: 2px 0;
      }
    `,
  ];
  #told: string | undefined;
  /** It was seen while it went on. */
  #wasActive = false;
  readonly #connection = this.followConnection();
  readonly #view = this.follow(() =>
    this.operationId ? { topics: ["operations", "errors"], operation_id: [this.operationId] } : null,
  );

  constructor() {
    super();
    this.linger = LINGER_SECONDS;
  }

  protected override willUpdate(changed: Map<PropertyKey, unknown>): void {
    super.willUpdate(changed as never);
    if (changed.has("operationId")) {
      this.fetched = undefined;
      this.gone = false;
      this.#told = undefined;
      this.#wasActive = false;
      this.reconnect();
    }
    const state = this.#view.state;
    const row = this.#row();
    if (state?.ready && !row && this.operationId && this.fetched === undefined) void this.#fetch(this.operationId);
    if (row && isActive(row.status)) this.#wasActive = true;
    if (row && !isActive(row.status) && this.#told !== row.id) this.#ended(row);
  }

  #row(): Operation | undefined {
    const live = this.operationId ? this.#view.state?.operations.get(this.operationId) : undefined;
    return live ?? (typeof this.fetched === "object" ? this.fetched : undefined);
  }

  async #fetch(id: string): Promise<void> {
    this.fetched = "missing";
    const found = await fetchOperation(this.relay.base, id).catch(() => null);
    if (found && this.operationId === id) this.fetched = found.operation;
  }

  #ended(row: Operation): void {
    this.#told = row.id;
    const name = row.status === "completed" ? "complete" : row.status === "failed" ? "error" : "cancel";
    this.dispatchEvent(new CustomEvent(name, { detail: row, bubbles: true, composed: true }));
    if (row.status === "failed" || !this.#wasActive || !Number.isFinite(this.linger)) return;
    setTimeout(() => {
      // Unless another operation is shown by now.
      if (this.#told === row.id) this.gone = true;
    }, this.linger * 1000);
  }

  protected override render(): unknown {
    const row = this.#row();
    if (this.gone) return nothing;
    if (!row) return html`<div class="card muted">${this.#absence()}</div>`;
    const errors: readonly OperationError[] = [...(this.#view.state?.errors.values() ?? [])];
    return html`<div class="card">
      ${operationBlock(row, this.#connection().clockOffsetMs)}
      ${
        errors.length > 0
          ? html`<details>
              <summary>${count(errors.length)} ${errors.length === 1 ? "item" : "items"} failed just now</summary>
              <ul>${errors.slice(-20).map((error) => html`<li>${error.item ? html`<b>${error.item}</b>: ` : nothing}${error.message}</li>`)}</ul>
            </details>`
          : nothing
      }
    </div>`;
  }

  #absence(): string {
    if (!this.operationId) return "No operation is chosen.";
    if (this.#view.state?.refusal) return this.#view.state.refusal;
    return this.#view.state?.ready && this.fetched === "missing"
      ? "There is no such operation."
      : "Looking for the operation…";
  }
}

define("bellwether-operation", OperationProgress);
