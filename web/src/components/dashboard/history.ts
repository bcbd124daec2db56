import { css, html, nothing } from "lit";
import { isActive, type Operation } from "../../client/index.js";
import { fetchOperations, type Page } from "../api.js";
import { define, LIVE } from "../element.js";
import { count, duration, localTime, lookOfOperation, words } from "../format.js";
import { icon } from "../icons.js";
import { bar, chip, items } from "../progress.js";
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
/** The choice that asks for a begin and an end. */
const OWN_PERIOD = "own";
/** Suggestions for a filter. */
const MOST_SUGGESTIONS = 50;
const PERIODS = [
  ["", "Any time"],
  ["1h", "Last hour"],
  ["24h", "Last 24 hours"],
  ["7d", "Last 7 days"],
  ["30d", "Last 30 days"],
  [OWN_PERIOD, "Custom period"],
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
    choosing: { state: true },
  };
  declare page: Page<Operation> | null;
  declare problem: string | null;
  declare loading: boolean;
  /** A period of one's own is wanted, and no instant of it is given yet. */
  declare choosing: boolean;
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
      td.items > div {
        display: flex;
        flex-direction: row-reverse;
        gap: 10px;
        align-items: center;
        justify-content: space-between;
      }
      td.items .bar {
        width: 64px;
        flex: none;
      }
      td .owner {
        display: none;
      }
      .busy {
        opacity: 0.6;
      }
      .down svg {
        transform: rotate(180deg);
      }
      @media (max-width: 1060px) {
        :is(th, td):is(.owner, .took) {
          display: none;
        }
        td .owner {
          display: block;
        }
      }
      @media (max-width: 860px) {
        :is(th, td).ended {
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
        td.items > div {
          flex-direction: row;
          justify-content: flex-start;
        }
        td.said {
          grid-column: 1 / -1;
          order: 2;
          width: auto;
          max-width: none;
        }
        td.said:empty {
          display: none;
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
    this.choosing = false;
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
    const text = (
      name: string,
      label: string,
      known: readonly string[] = [],
    ) => html`<label class=${name === "q" ? "wide" : ""}>
      ${label}<input type="search" name=${name} .value=${value(name)} list=${known.length > 0 ? `known-${name}` : nothing} autocomplete="off" spellcheck="false" />
      ${known.length > 0 ? html`<datalist id="known-${name}">${known.map((each) => html`<option value=${each}></option>`)}</datalist>` : nothing}
    </label>`;
    const period = this.#period();
    return html`<form role="search" aria-label="Filter operations" @submit=${this.#submit} @input=${this.#input}>
      ${text("q", "Search")}
      <label>Status
        <select name="status">
          <option value="" ?selected=${value("status") === ""}>Any</option>
          ${STATUSES.map((status) => html`<option value=${status} ?selected=${value("status") === status}>${words(status)}</option>`)}
        </select>
      </label>
      ${text("operation_type", "Type", this.#known("operation_type"))} ${text("owner", "Owner", this.#known("owner"))}
      <label>Created
        <select name="period">
          ${PERIODS.map(([name, label]) => html`<option value=${name} ?selected=${period === name}>${label}</option>`)}
        </select>
      </label>
      ${
        period === OWN_PERIOD
          ? [this.#instant("created_after", "From"), this.#instant("created_before", "Until")]
          : nothing
      }
    </form>`;
  }

  /** An end of the reader's own period, in the reader's own time. */
  #instant(name: string, label: string) {
    const given = this.query.get(name) ?? "";
    return html`<label class="wide">${label}
      <input type="datetime-local" name=${name} data-given=${given} .value=${localTime(given)} />
    </label>`;
  }

  /** The name of the period that the view's query asks for. */
  #period(): string {
    const after = this.query.get("created_after") ?? "";
    if (this.query.get("created_before") || (after && !(after in PERIOD_MS))) return OWN_PERIOD;
    return after || (this.choosing ? OWN_PERIOD : "");
  }

  /** What has been seen in a column: suggestions, no more. */
  #known(column: "operation_type" | "owner"): string[] {
    const rows = [...(this.page?.rows ?? []), ...(this.#live.state?.operations.values() ?? [])];
    const seen = new Set(rows.map((row) => row[column] ?? "").filter(Boolean));
    return [...seen].sort().slice(0, MOST_SUGGESTIONS);
  }

  #submit(event: Event): void {
    event.preventDefault();
    this.#apply(event.currentTarget as HTMLFormElement);
  }

  #input(event: Event): void {
    const form = event.currentTarget as HTMLFormElement;
    const target = event.target as HTMLInputElement | HTMLSelectElement;
    clearTimeout(this.#typing);
    if (target.name === "period") this.choosing = target.value === OWN_PERIOD;
    const wait = target.localName === "select" ? 0 : TYPING_MS;
    this.#typing = setTimeout(() => this.#apply(form), wait);
  }

  #apply(form: HTMLFormElement): void {
    const given = new FormData(form);
    const fields: Record<string, string | null> = { page: null };
    for (const name of ["q", "status", "operation_type", "owner"]) fields[name] = String(given.get(name) ?? "").trim();
    const period = String(given.get("period") ?? "");
    fields.created_after = period === OWN_PERIOD ? this.#chosen(form, "created_after") : period;
    fields.created_before = period === OWN_PERIOD ? this.#chosen(form, "created_before") : null;
    this.refine(fields);
  }

  /** The instant in a field; the one of the URL to the letter where the field still shows it. */
  #chosen(form: HTMLFormElement, name: string): string {
    const field = form.querySelector<HTMLInputElement>(`[name=${name}]`);
    if (!field?.value) return "";
    const { given = "" } = field.dataset;
    return localTime(given) === field.value ? given : new Date(field.value).toISOString();
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
              <th>Operation</th><th class="owner">Owner</th><th>Status</th><th class="num">Items</th><th>Message</th>
              <th class="num took">Took</th>
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
    return html`<th class="num ${label.toLowerCase()}" aria-sort=${state}>
      <button @click=${() => this.refine({ sort: next === "-created_at" ? null : next, page: null })}>${label}${mark}</button>
    </th>`;
  }

  #row(row: Operation) {
    const said = row.error ?? row.message ?? "";
    const offset = this.#connection().clockOffsetMs;
    const owner = row.owner ?? row.source ?? "";
    return html`<tr>
      <td>
        <div class="clip"><a href="${this.base}operations/${encodeURIComponent(row.id)}">${words(row.operation_type)}</a></div>
        <div class="owner muted clip">${owner}</div>
      </td>
      <td class="owner"><div class="muted clip" title=${owner || nothing}>${owner}</div></td>
      <td>${chip(lookOfOperation(row))}</td>
      <td class="num items"><div><span>${items(row)}</span>${isActive(row.status) && row.status !== "pending" ? bar(row) : nothing}</div></td>
      <td class="said">${said ? html`<div class="clip muted" title=${said}>${said}</div>` : nothing}</td>
      <td class="num took">${duration(row.duration_seconds)}</td>
      <td class="num ended"><bellwether-time mode="clock" .at=${row.completed_at} .offset=${offset}></bellwether-time></td>
      <td class="num"><bellwether-time mode="clock" .at=${row.created_at} .offset=${offset}></bellwether-time></td>
    </tr>`;
  }

  #again() {
    return html`<button @click=${() => this.#load(false)}>Try again</button>`;
  }
}

define("bellwether-history-page", HistoryPage);
