import { css, html, nothing } from "lit";
import type { Health } from "../../client/index.js";
import { fetchStatistics, type Outcome, type Statistics } from "../api.js";
import { define, LIVE } from "../element.js";
import { count, decimal, duration, lookOfHealth, percent, words } from "../format.js";
import { chip } from "../progress.js";
import { DashboardPage, emptiness, pageStyles, skeletonRows } from "./page.js";
import { activity, fetchPoints, type Point, type Series, seriesOf, throughput } from "./series.js";
import "./chart.js";
import "../time.js";

const RANGES = [
  ["1h", "1 hour", 3_600],
  ["24h", "24 hours", 86_400],
  ["7d", "7 days", 604_800],
  ["30d", "30 days", 2_592_000],
] as const;

/** How things are, what made it so, and how they were. */
export class HealthPage extends DashboardPage {
  static override properties = {
    ...DashboardPage.properties,
    points: { state: true },
    problem: { state: true },
    statistics: { state: true },
    statisticsProblem: { state: true },
  };
  declare points: readonly Point[] | null;
  declare problem: string | null;
  declare statistics: Statistics | null;
  declare statisticsProblem: string | null;
  protected readonly path = "health";
  static override styles = [
    ...pageStyles,
    css`
      .ranges {
        display: inline-flex;
        border: 1px solid var(--_border);
        border-radius: 7px;
        overflow: hidden;
        background: var(--_surface);
      }
      .ranges a {
        padding: 6px 12px;
        color: var(--_text);
        text-decoration: none;
        font-size: 13px;
        min-height: 32px;
      }
      .ranges a + a {
        border-inline-start: 1px solid var(--_border);
      }
      .ranges a[aria-current] {
        background: var(--_accent);
        color: var(--_surface);
        font-weight: 600;
      }
      .ranges a:focus-visible {
        outline-offset: -3px;
      }
      .now {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr) minmax(0, 1fr);
        gap: 16px 44px;
        padding: 16px;
        align-items: center;
      }
      .score {
        display: grid;
        gap: 2px;
        min-width: 120px;
      }
      .score b {
        font-size: 40px;
        line-height: 1.1;
        letter-spacing: -0.03em;
        color: var(--_tone);
      }
      .lines {
        display: grid;
        align-self: start;
      }
      .lines div {
        display: flex;
        justify-content: space-between;
        gap: 16px;
        padding: 4px 0;
        border-bottom: 1px dashed var(--_border);
      }
      .lines div:last-child {
        border: 0;
      }
      .lines dt {
        white-space: nowrap;
      }
      .lines dd {
        white-space: normal;
        text-align: end;
      }
      .lines .sum {
        font-weight: 600;
      }
      tfoot td {
        font-weight: 600;
        border-top: 1px solid var(--_border);
        border-bottom: 0;
      }
      .charts {
        display: grid;
        grid-template-columns: repeat(2, minmax(0, 1fr));
        gap: 1px;
        background: var(--_border);
        overflow: hidden;
      }
      .charts > * {
        background: var(--_surface);
      }
      @media (max-width: 820px) {
        .charts {
          grid-template-columns: minmax(0, 1fr);
        }
      }
      @media (max-width: 1000px) {
        .now {
          grid-template-columns: auto minmax(0, 1fr);
        }
        .now > :nth-child(3) {
          grid-column: 1 / -1;
        }
      }
      @media (max-width: 560px) {
        .now {
          grid-template-columns: minmax(0, 1fr);
        }
      }
    `,
  ];
  #abort: AbortController | null = null;
  #asked: string | null = null;
  #series: { of: readonly Point[]; is: Series } | null = null;
  readonly #live = this.follow(
    () => LIVE,
    (view) => {
      const stops = [
        view.on("health.snapshot", ({ event }) => this.#append(event.data as Health)),
        view.on("health.changed", ({ event }) => this.#append(event.data as Health)),
      ];
      return () => stops.forEach((stop) => void stop());
    },
  );

  constructor() {
    super();
    this.points = null;
    this.problem = null;
    this.statistics = null;
    this.statisticsProblem = null;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#abort?.abort();
    this.#asked = null;
  }

  get #range(): (typeof RANGES)[number] {
    return RANGES.find(([name]) => name === this.query.get("range")) ?? RANGES[1];
  }

  protected override willUpdate(changed: Map<PropertyKey, unknown>): void {
    super.willUpdate(changed as never);
    if (this.#asked === this.#range[0]) return;
    this.#asked = this.#range[0];
    this.points = null;
    this.statistics = null;
    void this.#load();
  }

  async #load(): Promise<void> {
    this.#abort?.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.problem = null;
    const points = fetchPoints(this.relay.base, this.#since, signal).then(
      (read) => {
        this.points = read;
      },
      (error) => {
        this.problem = signal.aborted ? null : say(error);
      },
    );
    await Promise.all([points, this.#count(signal)]);
  }

  /** When the range began. */
  get #since(): number {
    return this.relay.now() - this.#range[2] * 1000;
  }

  async #count(signal: AbortSignal): Promise<void> {
    try {
      this.statistics = await fetchStatistics(this.relay.base, this.#since, signal);
      this.statisticsProblem = null;
    } catch (error) {
      if (!signal.aborted) this.statisticsProblem = say(error);
    }
  }

  #append(health: Health): void {
    const last = this.points?.at(-1);
    if (this.points && (!last || last.taken_at < health.taken_at)) this.points = [...this.points, health];
    // With each snapshot the statistics are counted anew.
    if (this.#abort) void this.#count(this.#abort.signal);
  }

  protected override render(): unknown {
    const state = this.#live.state;
    return html`
      <div class="heading"><h1 tabindex="-1">Health</h1></div>
      <section class="card" aria-label="Present health">${state?.ready ? this.#now(state.health) : skeletonRows(3)}</section>
      <div class="heading">
        <h2>Trends</h2>
        <nav class="ranges" aria-label="Time range">
          ${RANGES.map(
            ([name, label]) =>
              html`<a href="${this.base}health?range=${name}" aria-current=${name === this.#range[0] ? "true" : nothing}>${label}</a>`,
          )}
        </nav>
      </div>
      ${this.#trends()}
      <section class="card" aria-labelledby="types"><header><h2 id="types">By operation type</h2></header>${this.#byType()}</section>
    `;
  }

  #now(health: Health | null) {
    if (!health)
      return emptiness(
        "pulse",
        "There is no snapshot yet",
        "The relay takes one every two minutes; SELECT * FROM create_sync_status_snapshot() takes one at once.",
      );
    const look = lookOfHealth(health.status);
    return html`<div class="now">
      <div class="score" data-tone=${look.tone}>
        <b>${health.score === null ? "–" : decimal(health.score)}</b>
        ${chip(look)}
        <span class="muted"><bellwether-time mode="ago" .at=${health.taken_at}></bellwether-time></span>
      </div>
      ${health.score === null ? this.#noScore(health) : this.#score(health, health.score)} ${this.#window(health)}
    </div>`;
  }

  /** What ended in the time that the snapshot looks back on. */
  #window(health: Health) {
    const facts = [
      [
        `Ended in ${duration(health.window_seconds)}`,
        `${count(health.completed_operations)} completed, ${count(health.failed_operations)} failed, ${count(health.cancelled_operations)} cancelled`,
      ],
      ["Success rate", percent(health.success_rate_percent)],
      ["Duration, on average", duration(health.average_duration_seconds)],
      ["95 % took no longer than", duration(health.p95_duration_seconds)],
      ["Most at once", count(health.peak_concurrency)],
    ];
    return html`<dl class="lines">${facts.map(([name, value]) => html`<div><dt class="muted">${name}</dt><dd>${value}</dd></div>`)}</dl>`;
  }

  #noScore(health: Health) {
    const active = health.pending_operations + health.running_operations + health.paused_operations;
    return html`<p>No operation completed or failed in the ${duration(health.window_seconds)} before, so there is nothing to judge by.
      ${active > 0 ? html`${count(active)} ${active === 1 ? "is" : "are"} active.` : "Nothing runs either."}
      ${health.stalled_operations > 0 ? html`<b>${count(health.stalled_operations)} stalled.</b>` : nothing}</p>`;
  }

  /** The score as `sync_health_score()` computes it, term by term. */
  #score(health: Health, score: number) {
    const latency = health.average_latency_ms;
    const terms = [
      [
        `${percent(health.error_rate_percent)} of the operations failed`,
        Math.min(60, 3 * (health.error_rate_percent ?? 0)),
      ],
      [`${count(health.stalled_operations)} stalled`, Math.min(30, 10 * health.stalled_operations)],
      [`${count(health.lost_connections)} lost connections`, Math.min(10, 2 * health.lost_connections)],
      [latency === null ? "latency not known" : `${decimal(latency)} ms latency`, Math.min(10, (latency ?? 0) / 100)],
    ] as const;
    const taken = (less: number) => (decimal(less) === "0" ? "0" : `−${decimal(less)}`);
    return html`<div class="lines" aria-label="What made the score" role="group">
      ${terms.map(([what, less]) => html`<div><span class="muted">${what}</span><span>${taken(less)}</span></div>`)}
      <div class="sum"><span>Score, of 100</span><span>${decimal(score)}</span></div>
    </div>`;
  }

  #trends() {
    const again = html`<button @click=${() => this.#load()}>Try again</button>`;
    if (this.problem)
      return html`<section class="card">${emptiness("warn", "The snapshots could not be read", this.problem, again)}</section>`;
    if (!this.points) return html`<section class="card">${skeletonRows(8)}</section>`;
    if (this.points.length < 2) {
      const text = "A trend needs two snapshots; the relay takes one every two minutes.";
      return html`<section class="card">${emptiness("pulse", "No trend in this time", text)}</section>`;
    }
    if (this.#series?.of !== this.points) this.#series = { of: this.points, is: seriesOf(this.points) };
    const series = this.#series.is;
    const to = Math.max(this.relay.now() / 1000, series.times.at(-1) ?? 0);
    const chart = (
      label: string,
      values: readonly (number | null)[],
      format: (value: number | null) => string,
      tone: string,
      top: number,
    ) =>
      html`<bellwether-chart
        .label=${label}
        .times=${series.times}
        .values=${values}
        .gaps=${series.gaps}
        .from=${to - this.#range[2]}
        .to=${to}
        .format=${format}
        .tone=${tone}
        .top=${top}
      ></bellwether-chart>`;
    return html`
      <section class="card charts" aria-label="Trends over ${this.#range[1]}">
        ${chart("Error rate", series.values.error_rate_percent, percent, "bad", 12)}
        ${chart("Score", series.values.score, decimal, "ok", 100)}
        ${chart("Throughput, ended per hour", throughput(series), decimal, "accent", 1)}
        ${chart("Active operations", activity(series), decimal, "info", 1)}
      </section>
      ${
        series.gaps.length > 0
          ? html`<p class="muted">${series.gaps.length === 1 ? "One gap" : `${count(series.gaps.length)} gaps`}: no snapshot was taken then, and nothing is known of it.</p>`
          : nothing
      }
    `;
  }

  #byType() {
    const again = html`<button @click=${() => this.#load()}>Try again</button>`;
    const problem = this.statisticsProblem
      ? html`<p class="problem" role="alert">${this.statisticsProblem} ${again}</p>`
      : nothing;
    if (!this.statistics) return problem === nothing ? skeletonRows(4) : problem;
    const { by_operation_type: types, total } = this.statistics;
    if (types.length === 0)
      return emptiness("inbox", "No operations in this time", "None began or ended in the chosen range.");
    const link = (type: string) =>
      html`<a href="${this.base}history?operation_type=${encodeURIComponent(type)}">${words(type)}</a>`;
    return html`${problem}<div class="scroll" tabindex="0" role="region" aria-label="By operation type, table">
      <table>
        <thead>
          <tr>
            <th>Type</th><th class="num">Started</th><th class="num">Completed</th><th class="num">Failed</th>
            <th class="num">Cancelled</th><th class="num">Success</th><th class="num">Average</th>
            <th class="num">95 % within</th><th class="num">Most at once</th>
          </tr>
        </thead>
        <tbody>${types.map((each) => outcome(link(each.operation_type), each))}</tbody>
        <tfoot>${outcome("All types", total)}</tfoot>
      </table>
    </div>`;
  }
}

function outcome(name: unknown, of: Outcome) {
  return html`<tr>
    <td>${name}</td>
    <td class="num">${count(of.started)}</td>
    <td class="num">${count(of.completed)}</td>
    <td class="num">${count(of.failed)}</td>
    <td class="num">${count(of.cancelled)}</td>
    <td class="num">${percent(of.success_rate === null ? null : 100 * of.success_rate)}</td>
    <td class="num">${duration(of.duration_seconds_average)}</td>
    <td class="num">${duration(of.duration_seconds_p95)}</td>
    <td class="num">${count(of.peak_concurrency)}</td>
  </tr>`;
}

function say(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

define("bellwether-health-page", HealthPage);
