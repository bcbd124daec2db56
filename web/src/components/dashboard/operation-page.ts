import { css, html, nothing } from "lit";
import { type Change, isActive, type Operation, type OperationError, type SyncEvent } from "../../client/index.js";
import { fetchOperation, fetchTimeline, type Timeline } from "../api.js";
import { define } from "../element.js";
import { count, duration, exactly, percent, words } from "../format.js";
import { operationBlock, operationStyles } from "../operation.js";
import { counts } from "../progress.js";
import { DashboardPage, emptiness, pageStyles, skeletonRows } from "./page.js";
import "../time.js";

/** Events that are kept on the screen; the oldest give way. */
const MOST_EVENTS = 1_000;
/** Errors that are shown. */
const MOST_ERRORS = 200;

/** One operation with everything that is known of it, live. */
export class OperationPage extends DashboardPage {
  static override properties = {
    ...DashboardPage.properties,
    operationId: { attribute: false },
    fetched: { state: true },
    timeline: { state: true },
    problem: { state: true },
    timelineProblem: { state: true },
    opened: { state: true },
  };
  declare operationId: string;
  declare fetched: { readonly operation: Operation; readonly errors: readonly OperationError[] } | null | undefined;
  declare timeline: Timeline | null;
  declare problem: string | null;
  declare timelineProblem: string | null;
  /** The runs of reports that are shown whole, by the id of their oldest. */
  declare opened: ReadonlySet<number>;
  protected readonly path = "operations";
  static override styles = [
    ...pageStyles,
    operationStyles,
    css`
      .main {
        padding: 16px;
      }
      .columns {
        display: grid;
        grid-template-columns: minmax(0, 1fr) minmax(0, 1fr);
        gap: 16px;
        align-items: start;
      }
      @media (max-width: 900px) {
        .columns {
          grid-template-columns: minmax(0, 1fr);
        }
      }
      .stack {
        display: grid;
        gap: 16px;
        min-width: 0;
      }
      dl {
        display: grid;
        grid-template-columns: minmax(96px, auto) minmax(0, 1fr);
        gap: 6px 18px;
        padding: 12px 16px;
      }
      dt {
        color: var(--_muted);
      }
      dd {
        overflow-wrap: anywhere;
      }
      .numbers {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(96px, 1fr));
        gap: 10px 16px;
        padding: 12px 16px;
      }
      .numbers b {
        display: block;
        font-size: 18px;
        font-weight: 650;
      }
      .numbers span {
        color: var(--_muted);
        font-size: 13px;
        overflow-wrap: anywhere;
      }
      .errors li,
      .events li {
        display: grid;
        gap: 1px;
        padding: 8px 16px;
        overflow-wrap: anywhere;
      }
      li + li {
        border-top: 1px solid var(--_border);
      }
      .events,
      .errors {
        max-height: 460px;
        overflow-y: auto;
      }
      .events li {
        grid-template-columns: 96px minmax(0, 1fr);
        gap: 2px 12px;
      }
      .events .more {
        justify-self: start;
        border: 0;
        padding: 0;
        min-height: 24px;
        background: none;
        color: var(--_accent);
        font-size: 13px;
      }
      .events time {
        color: var(--_muted);
        font-size: 13px;
      }
      pre {
        margin: 0;
        padding: 12px 16px;
        max-height: 460px;
        overflow: auto;
        white-space: pre-wrap;
        overflow-wrap: anywhere;
      }
      summary {
        cursor: pointer;
        padding: 11px 16px;
        font-weight: 600;
      }
      .title {
        display: flex;
        gap: 10px;
        align-items: center;
        min-width: 0;
      }
    `,
  ];
  #abort: AbortController | null = null;
  #shown: string | undefined;
  readonly #connection = this.followConnection();
  readonly #view = this.follow(
    () => (this.operationId ? { topics: ["operations", "errors"], operation_id: [this.operationId] } : null),
    (view) => {
      const stops = [view.on("change", (change) => this.#happened(change)), view.on("reset", () => void this.#load())];
      return () => stops.forEach((stop) => void stop());
    },
  );

  constructor() {
    super();
    this.timeline = null;
    this.problem = null;
    this.timelineProblem = null;
    this.opened = new Set();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#abort?.abort();
  }

  protected override willUpdate(changed: Map<PropertyKey, unknown>): void {
    super.willUpdate(changed as never);
    if (this.#shown === this.operationId) return;
    this.#shown = this.operationId;
    this.fetched = undefined;
    this.timeline = null;
    this.reconnect();
    void this.#load();
  }

  async #load(): Promise<void> {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.problem = null;
    this.timelineProblem = null;
    const say = (error: unknown) => (error instanceof Error ? error.message : String(error));
    const { base } = this.relay;
    await Promise.all([
      fetchOperation(base, this.operationId, abort.signal).then(
        (found) => {
          this.fetched = found;
        },
        (error) => {
          if (!abort.signal.aborted) this.problem = say(error);
        },
      ),
      this.#loadEvents(base, abort.signal).catch((error) => {
        if (!abort.signal.aborted) this.timelineProblem = say(error);
      }),
    ]);
  }

  async #loadEvents(base: URL, signal: AbortSignal): Promise<void> {
    let page: string | null = null;
    do {
      const part: Timeline = await fetchTimeline(base, this.operationId, page, signal);
      const live = this.timeline?.events ?? [];
      this.timeline = { ...part, events: merge(live, part.events) };
      page = part.next;
    } while (page !== null && this.timeline.events.length < MOST_EVENTS);
  }

  #happened({ event, derived }: Change): void {
    if (derived) return;
    this.timeline = {
      completeFrom: null,
      next: null,
      ...this.timeline,
      events: merge(this.timeline?.events ?? [], [event]),
    };
    if (event.type === "operation.deleted") this.fetched = undefined;
  }

  #row(): Operation | undefined {
    const live = this.#view.state?.operations.get(this.operationId);
    const fetched = this.fetched?.operation;
    return live && (!fetched || live.revision >= fetched.revision) ? live : fetched;
  }

  protected override render(): unknown {
    const row = this.#row();
    const deleted = this.timeline?.events.at(-1)?.type === "operation.deleted";
    if (!row) return this.#absence(deleted);
    const offset = this.#connection().clockOffsetMs;
    return html`
      <div class="heading">
        <h1 tabindex="-1" class="clip">${words(row.operation_type)}</h1>
        <a href="${this.base}history">All operations</a>
      </div>
      ${deleted ? html`<p class="card note">This operation has been deleted; what is shown is its last state.</p>` : nothing}
      <section class="card main" aria-label="Progress">${operationBlock(row, offset, html`<span class="mono">${row.id}</span>`)}</section>
      <div class="columns">
        <div class="stack">${this.#details(row, offset)} ${this.#counters(row)}</div>
        <div class="stack">${this.#errors(row)} ${this.#timeline(offset)}</div>
      </div>
      <details class="card"><summary>Raw JSON</summary><pre class="mono" tabindex="0" role="region" aria-label="Raw JSON">${JSON.stringify(row, null, 2)}</pre></details>
    `;
  }

  #absence(deleted: boolean) {
    const title = html`<div class="heading"><h1 tabindex="-1">Operation</h1><a href="${this.base}history">All operations</a></div>`;
    const again = html`<button @click=${() => this.#load()}>Try again</button>`;
    if (this.problem)
      return html`${title}<section class="card">${emptiness("warn", "The operation could not be read", this.problem, again)}</section>`;
    if (this.fetched === null || deleted) {
      const why = "It may have been deleted, or the address may be mistyped.";
      return html`${title}<section class="card">${emptiness("search", "There is no such operation", why)}</section>`;
    }
    return html`${title}<section class="card">${skeletonRows(6)}</section>`;
  }

  #details(row: Operation, offset: number) {
    const instant = (at: string | null) =>
      html`<bellwether-time mode="clock" .at=${at} .offset=${offset}></bellwether-time>`;
    const facts: [string, unknown][] = [
      ["Owner", row.owner],
      ["Source", row.source],
      ["Triggered by", row.triggered_by],
      ["Message", row.message],
      ["Created", instant(row.created_at)],
      ["Started", row.started_at && instant(row.started_at)],
      ["Ended", row.completed_at && instant(row.completed_at)],
      ["Took", row.duration_seconds !== null && duration(row.duration_seconds)],
      ["Expected end", row.estimated_completion_at && instant(row.estimated_completion_at)],
      ["Last changed", instant(row.updated_at)],
    ];
    return html`<section class="card" aria-labelledby="details">
      <header><h2 id="details">Details</h2></header>
      <dl>${facts.filter(([, value]) => value).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
    </section>`;
  }

  #counters(row: Operation) {
    const maps = [row.entities_encountered, row.counters].flatMap((map) =>
      Object.entries(map ?? {}).map(([name, value]) => ({
        name: name.replace(/_/g, " "),
        value: typeof value === "number" ? exactly(value) : JSON.stringify(value),
      })),
    );
    const all = [...counts(row, true).map(({ name, value }) => ({ name, value: exactly(value) })), ...maps];
    return html`<section class="card" aria-labelledby="counters">
      <header><h2 id="counters">Counters</h2></header>
      <div class="numbers">${all.map(({ name, value }) => html`<div><b>${value}</b><span>${name}</span></div>`)}</div>
    </section>`;
  }

  #errors(row: Operation) {
    const known = new Map<number, OperationError>();
    for (const error of [...(this.fetched?.errors ?? []), ...(this.#view.state?.errors.values() ?? [])])
      known.set(error.id, error);
    const all = [...known.values()].sort((a, b) => b.id - a.id);
    return html`<section class="card" aria-labelledby="errors">
      <header><h2 id="errors">Errors of single items</h2><span class="muted">${all.length > 0 ? count(all.length) : ""}</span></header>
      ${
        all.length === 0
          ? html`<p class="note">${row.failed_items > 0 ? "Items failed, and none left word of why." : "None."}</p>`
          : html`<ul class="errors" tabindex="0" aria-label="Errors of single items">
              ${all.slice(0, MOST_ERRORS).map(
                (error) => html`<li>
                  <span>${error.item ? html`<b>${error.item}</b> ` : nothing}${error.code ? html`<span class="mono muted">${error.code}</span>` : nothing}</span>
                  <span>${error.message}</span>
                  <span class="muted"><bellwether-time mode="clock" .at=${error.occurred_at}></bellwether-time></span>
                </li>`,
              )}
            </ul>`
      }
      ${all.length > MOST_ERRORS ? html`<p class="note">The newest ${count(MOST_ERRORS)} of ${count(all.length)} are shown.</p>` : nothing}
    </section>`;
  }

  #timeline(offset: number) {
    const { timeline } = this;
    const events = timeline?.events.slice(-MOST_EVENTS).reverse() ?? [];
    return html`<section class="card" aria-labelledby="timeline">
      <header><h2 id="timeline">Timeline</h2><span class="muted">newest first</span></header>
      ${this.timelineProblem ? html`<p class="problem">${this.timelineProblem}</p>` : nothing}
      ${
        events.length > 0
          ? html`<ul class="events" tabindex="0" aria-label="Timeline">${chapters(events).map((chapter) => this.#chapter(chapter, offset))}</ul>`
          : timeline || this.timelineProblem
            ? html`<p class="note">No event of it is kept any more.</p>`
            : skeletonRows(4)
      }
      ${timeline?.next ? html`<p class="note">The newest ${count(MOST_EVENTS)} are shown; there are older ones.</p>` : nothing}
      ${
        timeline?.completeFrom && !timeline.next
          ? html`<p class="note">Complete from <bellwether-time mode="clock" .at=${timeline.completeFrom} .offset=${offset}></bellwether-time>: older events have been trimmed from the log.</p>`
          : nothing
      }
    </section>`;
  }

  /** The newest report of a run, and the others where they are asked for: hundreds would hide what else happened. */
  #chapter(chapter: Chapter, offset: number) {
    const [newest, ...others] = chapter;
    const oldest = others.at(-1);
    if (!oldest || others.length < FEW) return chapter.map((event) => this.#event(event, offset));
    const isOpen = this.opened.has(oldest.id);
    const toggle = () => {
      const opened = new Set(this.opened);
      if (!opened.delete(oldest.id)) opened.add(oldest.id);
      this.opened = opened;
    };
    return html`${this.#event(newest, offset)}
      <li>
        <span></span>
        <button class="more" aria-expanded=${isOpen ? "true" : "false"} @click=${toggle}>
          ${isOpen ? "Hide" : "Show"} ${count(others.length)} earlier reports
        </button>
      </li>
      ${isOpen ? others.map((event) => this.#event(event, offset)) : nothing}`;
  }

  #event(event: SyncEvent, offset: number) {
    return html`<li>
      <bellwether-time mode="precise" .at=${event.at} .offset=${offset}></bellwether-time>
      <span class=${event.type === "operation.progress" ? "clip" : ""}><b>${happening(event)}</b> <span class="muted">${tell(event)}</span></span>
    </li>`;
  }
}

/** Reports of progress that follow each other, or one event of another kind. */
type Chapter = readonly [SyncEvent, ...SyncEvent[]];

/** So many reports are shown as they are. */
const FEW = 4;

function chapters(events: readonly SyncEvent[]): Chapter[] {
  const all: [SyncEvent, ...SyncEvent[]][] = [];
  for (const event of events) {
    const last = all.at(-1);
    if (event.type === "operation.progress" && last?.[0].type === "operation.progress") last.push(event);
    else all.push([event]);
  }
  return all;
}

/** Both, each event once, in order. */
function merge(a: readonly SyncEvent[], b: readonly SyncEvent[]): readonly SyncEvent[] {
  const all = new Map<string, SyncEvent>();
  for (const event of [...a, ...b]) all.set(`${event.id} ${event.type}`, event);
  return [...all.values()]
    .sort((x, y) => x.revision - y.revision || x.id - y.id)
    .sort((x, y) => (x.at < y.at ? -1 : x.at > y.at ? 1 : 0))
    .slice(-MOST_EVENTS);
}

/** What happened, in a word. */
function happening(event: SyncEvent): string {
  // The wire calls every change progress that leaves the status as it was.
  if (event.topic === "operations" && event.type === "operation.progress" && !isActive(event.data.status))
    return "Changed";
  return event.topic === "errors" ? "Error" : words(event.type.slice(event.type.indexOf(".") + 1));
}

/** What an event says, in a line. */
function tell(event: SyncEvent): string {
  if (event.topic === "errors") return [event.data.item, event.data.message].filter(Boolean).join(": ");
  if (event.topic !== "operations") return "";
  const row = event.data;
  if (row.status === "failed" && row.error) return row.error;
  const share = isActive(row.status) && row.total_items !== null ? percent(row.progress) : "";
  const done = row.processed_items > 0 ? `${count(row.processed_items)} items` : "";
  return [share, done, row.current_item ?? row.message].filter(Boolean).join(" · ");
}

define("bellwether-operation-page", OperationPage);
