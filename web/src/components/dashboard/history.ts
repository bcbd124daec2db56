import { css, html, nothing } from "lit";
import { isActive, type Operation } from "../../client/index.js";
import { fetchOperations, type Page } from "../api.js";
import { define, LIVE } from "../element.js";
import { count, duration, lookOfOperation, percent, words } from "../format.js";
import { icon } from "../icons.js";
import { bar, chip, isMeasured, items } from "../progress.js";
import { DashboardPage, emptiness, pageStyles, skeletonRows } from "./page.js";
import "../time.js";

/** Rows on a page. */
const LIMIT = 50;
/** New operations are asked for at most this often, in ms. */
const REFRESH_MS = 2_000;
/** Typing has ended when nothing was typed for so long, in ms. */
const TYPING_MS = 300;

const STATUSES = ["pending", "in_progress", "paused", "completed", "failed", "cancelled"] as const;
const FILTERS = ["q", "status", "operation_type", "owner", "created_after", "created_before"] as const;
const PERIODS = [
  ["", "Any time"],
  ["1h", "Last hour"],
  ["24h", "Last 24 hours"],
  ["7d", "Last 7 days"],
  ["30d", "Last 30 days"],
] as const;
const PERIOD_MS: Readonly<Record<string, number>> = {
  "1h": 3_600_000,
  "24h": 86_400_000,
  "7d": 604_800_000,
  "30d": 2_592_000_000,
};

/** The columns that can be sorted by, as the relay names them. */
const SORTABLE: Readonly<Record<string, string>> = {
  Ended: "completed_at",
  Created: "created_at",
};

/** Every operation that is kept: searched, filtered, sorted, page by page, and exported. */
export class HistoryPage extends DashboardPage {
  static override properties = {
    ...DashboardPage.properties,
    page: { state: true },
    problem: { state: true },
    loading: { state: true },
  };
  declare page: Page<Operation> | null;
  declare problem: string | null;
  declare loading: boolean;
  protected readonly path = "history";
  static override styles = [
    ...pageStyles,
    css`
      form {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
        padding: 12px 16px;
        border-bottom: 1px solid var(--_border);
      }
      form label {
        display: grid;
        gap: 3px;
        font-size: 12.5px;
        color: var(--_muted);
        flex: 1 1 104px;
        min-width: 0;
      }
      form label.wide {
        flex: 2 1 150px;
      }
      form label > * {
        color: var(--_text);
        font-size: 14px;
        width: 100%;
      }
      .foot {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
        justify-content: space-between;
        align-items: center;
        padding: 10px 16px;
        border-top: 1px solid var(--_border);
      }
      .foot > span {
        display: flex;
        gap: 8px;
        align-items: center;
      }
      th button {
        border: 0;
        background: none;
        padding: 0;
        min-height: 24px;
        font: inherit;
        color: inherit;
      }
      td a {
        font-weight: 600;
        text-decoration: none;
      }
      td a:hover {
        text-decoration: underline;
      }
      td .bar {
        width: 96px;
        margin-top: 7px;
      }
      .busy {
        opacity: 0.6;
      }
      .down svg {
        transform: rotate(180deg);
      }
      @media (max-width: 1000px) {
        :is(th, td):nth-child(5) {
          display: none;
        }
      }
      @media (max-width: 820px) {
        :is(th, td):nth-child(6) {
          display: none;
        }
      }
      @media (max-width: 720px) {
        thead {
          position: absolute;
          width: 1px;
          height: 1px;
          overflow: hidden;
          clip-path: inset(50%);
        }
        table,
        tbody {
          display: block;
        }
        tr {
          display: grid;
          grid-template-columns: minmax(0, 1fr) auto;
          gap: 3px 12px;
          padding: 10px 16px;
          border-bottom: 1px solid var(--_border);
        }
        td,
        td:first-child,
        td:last-child {
          padding: 0;
          border: 0;
          max-width: none;
        }
        td.num:nth-child(3) {
          display: flex;
          gap: 8px;
          text-align: start;
        }
        td.num:nth-child(3):empty {
          display: block;
        }
        td.said {
          grid-column: 1 / -1;
          order: 2;
          width: auto;
          max-width: none;
        }
      }
    `,
  ];
  #abort: AbortController | null = null;
  #asked: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #refreshedAt = 0;
  #typing: ReturnType<typeof setTimeout> | undefined;
  readonly #connection = this.followConnection();
  readonly #live = this.follow(
    () => LIVE,
    (view) => {
      const stops = [
        view.on("change", ({ event, previous }) => {
          if (event.topic !== "operations" || (previous && previous.status === event.data.status)) return;
          this.#refreshSoon();
        }),
        view.on("reset", () => this.#refreshSoon()),
      ];
      return () => stops.forEach((stop) => void stop());
    },
  );

  constructor() {
    super();
    this.page = null;
    this.problem = null;
    this.loading = false;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearTimeout(this.#timer);
    clearTimeout(this.#typing);
    this.#abort?.abort();
    this.#asked = null;
  }

  protected override willUpdate(changed: Map<PropertyKey, unknown>): void {
    super.willUpdate(changed as never);
    if (this.isConnected && this.query.toString() !== this.#asked) void this.#load(false);
  }

  /** What the relay is asked: the view's own query, with the period as an instant. */
  #request(): URLSearchParams {
    const request = new URLSearchParams();
    for (const name of [...FILTERS, "sort", "page"]) {
      const value = this.query.get(name);
      if (value) request.set(name, value);
    }
    const after = this.query.get("created_after") ?? "";
    const period = PERIOD_MS[after];
    if (period) request.set("created_after", new Date(this.relay.now() - period).toISOString());
    return request;
  }

  async #load(quietly: boolean): Promise<void> {
    this.#asked = this.query.toString();
    this.#refreshedAt = Date.now();
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    if (!quietly) this.loading = true;
    const request = this.#request();
    request.set("limit", String(LIMIT));
    try {
      this.page = await fetchOperations(this.relay.base, request, abort.signal);
      this.problem = null;
    } catch (error) {
      if (abort.signal.aborted) return;
      this.problem = error instanceof Error ? error.message : String(error);
    }
    this.loading = false;
  }

  /** New operations and endings belong on the first page; whoever reads a later one is not disturbed. */
  #refreshSoon(): void {
    if (this.#timer !== undefined || this.query.get("page")) return;
    const wait = Math.max(150, this.#refreshedAt + REFRESH_MS - Date.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (!document.hidden) void this.#load(true);
      else document.addEventListener("visibilitychange", () => this.#refreshSoon(), { once: true });
    }, wait);
  }

  /** The newest of what the page and the live view know of a row. */
  #fresh(row: Operation): Operation {
    const live = this.#live.state?.operations.get(row.id);
    return live && live.revision >= row.revision ? live : row;
  }

  protected override render(): unknown {
    return html`
      <div class="heading">
        <h1 tabindex="-1">History</h1>
        ${this.#exports()}
      </div>
      <section class="card" aria-label="Operations">
        ${this.#filters()}
        ${this.problem && this.page ? html`<p class="problem" role="alert">${this.problem} ${this.#again()}</p>` : nothing}
        ${this.#results()}
      </section>
    `;
  }

  #exports() {
    const link = (format: string, name: string) => {
      const query = this.#request();
      query.delete("page");
      query.set("format", format);
      const url = new URL(`api/operations?${query}`, this.relay.base);
      return html`<a class="button" href=${url.href} download="operations.${format}">${icon("download")}${name}</a>`;
    };
    return html`<span role="group" aria-label="Export what is filtered">${link("csv", "CSV")} ${link("ndjson", "NDJSON")}</span>`;
  }

  #filters() {
    const value = (name: string) => this.query.get(name) ?? "";
    const after = value("created_after");
    const text = (name: string, label: string, wide = false) => html`<label class=${wide ? "wide" : ""}>
      ${label}<input type="search" name=${name} .value=${value(name)} autocomplete="off" spellcheck="false" />
    </label>`;
    return html`<form role="search" aria-label="Filter operations" @submit=${this.#submit} @input=${this.#input}>
      ${text("q", "Search", true)}
      <label>Status
        <select name="status">
          <option value="" ?selected=${value("status") === ""}>Any</option>
          ${STATUSES.map((status) => html`<option value=${status} ?selected=${value("status") === status}>${words(status)}</option>`)}
        </select>
      </label>
      ${text("operation_type", "Type")} ${text("owner", "Owner")}
      <label>Created
        <select name="created_after">
          ${PERIODS.map(([period, name]) => html`<option value=${period} ?selected=${after === period}>${name}</option>`)}
          ${after && !(after in PERIOD_MS) ? html`<option value=${after} selected>Since ${after}</option>` : nothing}
        </select>
      </label>
    </form>`;
  }

  #submit(event: Event): void {
    event.preventDefault();
    this.#apply(event.currentTarget as HTMLFormElement);
  }

  #input(event: Event): void {
    const form = event.currentTarget as HTMLFormElement;
    clearTimeout(this.#typing);
    const wait = (event.target as HTMLElement).localName === "select" ? 0 : TYPING_MS;
    this.#typing = setTimeout(() => this.#apply(form), wait);
  }

  #apply(form: HTMLFormElement): void {
    const fields: Record<string, string | null> = { page: null };
    for (const [name, value] of new FormData(form)) fields[name] = String(value).trim();
    this.refine(fields);
  }

  #results() {
    if (!this.page) {
      return this.problem
        ? emptiness("warn", "The history could not be read", this.problem, this.#again())
        : skeletonRows(10);
    }
    const { rows, next } = this.page;
    if (rows.length === 0) {
      const filtered = FILTERS.some((name) => this.query.get(name));
      return filtered
        ? emptiness(
            "search",
            "Nothing matches",
            "No operation is as the filters ask for.",
            html`<a class="button" href="${this.base}history">Clear the filters</a>`,
          )
        : emptiness(
            "inbox",
            "There are no operations yet",
            "Each row of sync_operations is one; write one, and it is here.",
          );
    }
    return html`
      <div class="scroll ${this.loading ? "busy" : ""}" aria-busy=${this.loading ? "true" : "false"}>
        <table>
          <thead>
            <tr>
              <th>Operation</th><th>Status</th><th class="num">Items</th><th>Said</th>
              <th class="num">Took</th>
              ${this.#sortable("Ended")}${this.#sortable("Created")}
            </tr>
          </thead>
          <tbody>${rows.map((row) => this.#row(this.#fresh(row)))}</tbody>
        </table>
      </div>
      <nav class="foot" aria-label="Pages">
        <span class="muted">${count(rows.length)} shown</span>
        <span>
          ${this.query.get("page") ? html`<button @click=${() => this.refine({ page: null }, false)}>${icon("back")}Newest</button>` : nothing}
          <button ?disabled=${!next} @click=${() => this.refine({ page: next }, false)}>Next${icon("next")}</button>
        </span>
      </nav>
    `;
  }

  #sortable(label: string) {
    const column = SORTABLE[label] as string;
    const sort = this.query.get("sort") ?? "-created_at";
    const state = sort === column ? "ascending" : sort === `-${column}` ? "descending" : "none";
    const next = state === "descending" ? column : `-${column}`;
    const mark =
      state === "none" ? nothing : html`<span class=${state === "descending" ? "down" : ""}>${icon("up")}</span>`;
    return html`<th class="num" aria-sort=${state}>
      <button @click=${() => this.refine({ sort: next === "-created_at" ? null : next, page: null })}>${label}${mark}</button>
    </th>`;
  }

  #row(row: Operation) {
    const said = row.error ?? row.message ?? "";
    const offset = this.#connection().clockOffsetMs;
    return html`<tr>
      <td>
        <div class="clip"><a href="${this.base}operations/${encodeURIComponent(row.id)}">${words(row.operation_type)}</a></div>
        <div class="muted clip">${row.owner ?? row.source ?? ""}</div>
      </td>
      <td>${chip(lookOfOperation(row))}${isActive(row.status) ? bar(row) : nothing}</td>
      <td class="num">${items(row)}${isActive(row.status) && isMeasured(row) ? html`<div class="muted">${percent(row.progress)}</div>` : nothing}</td>
      <td class="said"><div class="clip muted" title=${said || nothing}>${said}</div></td>
      <td class="num">${duration(row.duration_seconds)}</td>
      <td class="num"><bellwether-time mode="clock" .at=${row.completed_at} .offset=${offset}></bellwether-time></td>
      <td class="num"><bellwether-time mode="clock" .at=${row.created_at} .offset=${offset}></bellwether-time></td>
    </tr>`;
  }

  #again() {
    return html`<button @click=${() => this.#load(false)}>Try again</button>`;
  }
}

define("bellwether-history-page", HistoryPage);
