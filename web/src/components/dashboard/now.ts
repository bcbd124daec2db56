import { css, html, nothing } from "lit";
import { type Health, isActive, type Operation } from "../../client/index.js";
import { define, LIVE } from "../element.js";
import { count, decimal, duration, lookOfHealth, lookOfOperation, percent, words } from "../format.js";
import { chip } from "../progress.js";
import { DashboardPage, emptiness, pageStyles, skeletonRows } from "./page.js";
import "./active-list.js";
import "../time.js";

/** How many operations that ended are shown here; the history has the others. */
const RECENT = 8;

/** What goes on now: health in a line, what is active, what has just ended. */
export class NowPage extends DashboardPage {
  protected readonly path = "";
  static override styles = [
    ...pageStyles,
    css`
      .tiles {
        display: grid;
        grid-template-columns: repeat(6, minmax(0, 1fr));
        gap: 1px;
        overflow: hidden;
        background: var(--_border);
      }
      .tile {
        display: grid;
        gap: 2px;
        align-content: start;
        padding: 12px 16px 13px;
        background: var(--_surface);
        color: inherit;
        text-decoration: none;
        min-width: 0;
      }
      a.tile:hover {
        background: var(--_sunken);
      }
      a.tile:focus-visible {
        outline-offset: -3px;
      }
      .tile dt,
      .tile .term {
        font-size: 12.5px;
        color: var(--_muted);
      }
      .tile b {
        font-size: 23px;
        line-height: 1.25;
        font-weight: 650;
        letter-spacing: -0.02em;
        color: var(--_tone, inherit);
      }
      .tile small {
        font-size: 12.5px;
        color: var(--_muted);
        min-height: 1.45em;
      }
      [aria-labelledby="active"] > header {
        flex-wrap: nowrap;
      }
      [aria-labelledby="active"] h2 {
        white-space: nowrap;
      }
      .basis {
        font-size: 12.5px;
      }
      .recent a {
        font-weight: 600;
        text-decoration: none;
      }
      .recent a:hover {
        text-decoration: underline;
      }
      .recent td.said {
        color: var(--_muted);
        font-size: 13px;
      }
      .recent td .owner {
        display: none;
      }
      @media (max-width: 1060px) {
        .recent :is(th, td).owner {
          display: none;
        }
        .recent td .owner {
          display: block;
        }
      }
      @media (max-width: 1000px) {
        .tiles {
          grid-template-columns: repeat(3, minmax(0, 1fr));
        }
      }
      @media (max-width: 620px) {
        .tiles {
          grid-template-columns: repeat(2, minmax(0, 1fr));
        }
        .recent :is(th, td):is(.said, .took) {
          display: none;
        }
        .recent td:first-child {
          width: 50%;
          max-width: 0;
        }
      }
    `,
  ];
  readonly #connection = this.followConnection();
  readonly #live = this.follow(() => LIVE);

  protected override render(): unknown {
    const state = this.#live.state;
    const rows = [...(state?.operations.values() ?? [])];
    const active = rows.filter((row) => isActive(row.status)).sort(byCreation);
    const ended = rows.filter((row) => !isActive(row.status)).sort(byEnd);
    const ready = state?.ready ?? false;
    return html`
      <div class="heading"><h1 tabindex="-1">Now</h1>${this.#basis(state?.health ?? null)}</div>
      ${this.#tiles(ready ? active : null, state?.health ?? null)}
      <section class="card" aria-labelledby="active">
        <header>
          <h2 id="active">Active operations</h2>
          <span class="muted clip">${ready ? summary(active) : ""}</span>
        </header>
        ${this.#active(ready, active)}
        ${state && !state.complete ? html`<p class="note">There are more than the relay keeps at hand; the history has them all.</p>` : nothing}
      </section>
      <section class="card recent" aria-labelledby="recent">
        <header>
          <h2 id="recent">Recently ended</h2>
          <a href="${this.base}history">All operations</a>
        </header>
        ${ready ? this.#recent(ended.slice(0, RECENT)) : skeletonRows(4)}
      </section>
    `;
  }

  #tiles(active: readonly Operation[] | null, health: Health | null) {
    const look = lookOfHealth(health?.status);
    const stalled = active?.filter((row) => row.stalled_since).length ?? 0;
    const running = active?.filter((row) => row.status === "in_progress").length;
    return html`<section class="card tiles" aria-label="Summary">
      <a class="tile" href="${this.base}health" data-tone=${look.tone}>
        <span class="term">Health</span>
        <b>${health?.score == null ? html`<span>${health ? "no score" : "–"}</span>` : decimal(health.score)}</b>
        <small>${chip(look)}</small>
      </a>
      <div class="tile">
        <span class="term">Active</span><b>${count(active?.length)}</b>
        <small>${active ? `${count(running)} running` : ""}</small>
      </div>
      <div class="tile" data-tone=${stalled > 0 ? "warn" : nothing}>
        <span class="term">Stalled</span><b>${active ? count(stalled) : "–"}</b>
        <small>${stalled > 0 ? "without a sign of life" : ""}</small>
      </div>
      <div class="tile">
        <span class="term">Errors</span><b>${percent(health?.error_rate_percent)}</b>
        <small>${health ? `${count(health.failed_operations)} of ${count(health.completed_operations + health.failed_operations)} failed` : ""}</small>
      </div>
      <div class="tile">
        <span class="term">Duration</span><b>${duration(health?.average_duration_seconds)}</b>
        <small>${health?.p95_duration_seconds != null ? `95 % within ${duration(health.p95_duration_seconds)}` : ""}</small>
      </div>
      <a class="tile" href="${this.base}connections">
        <span class="term">Clients</span><b>${count(health?.connected_clients)}</b>
        <small>${health ? `${count(health.lost_connections)} lost` : ""}</small>
      </a>
    </section>`;
  }

  /** What the tiles that are not live rest on. */
  #basis(health: Health | null) {
    if (!health) return nothing;
    return html`<span class="muted basis">
      Health, errors, duration and clients: <bellwether-time mode="ago" .at=${health.taken_at}></bellwether-time>, over ${duration(health.window_seconds)}
    </span>`;
  }

  #active(ready: boolean, active: readonly Operation[]) {
    if (!ready) return skeletonRows(5);
    if (active.length === 0) {
      return this.#connection().staleSince === null
        ? emptiness("inbox", "Nothing is running", "An operation appears here the moment its row is written.")
        : emptiness("inbox", "Nothing was running", "Since then nothing is known.");
    }
    return html`<bellwether-active-list
      .rows=${active}
      .base=${this.base}
      .offset=${this.#connection().clockOffsetMs}
      .old=${this.#connection().staleSince !== null}
    ></bellwether-active-list>`;
  }

  #recent(ended: readonly Operation[]) {
    if (ended.length === 0)
      return emptiness("inbox", "Nothing has ended yet", "What ends is shown here, the newest first.");
    const offset = this.#connection().clockOffsetMs;
    return html`<table>
      <thead>
        <tr><th>Operation</th><th class="owner">Owner</th><th>Status</th><th class="said">Message</th><th class="num took">Took</th><th class="num">Ended</th></tr>
      </thead>
      <tbody>
        ${ended.map(
          (row) => html`<tr>
            <td>
              <div class="clip"><a href="${this.base}operations/${encodeURIComponent(row.id)}">${words(row.operation_type)}</a></div>
              <div class="owner muted clip">${row.owner ?? ""}</div>
            </td>
            <td class="owner"><div class="muted clip">${row.owner ?? ""}</div></td>
            <td>${chip(lookOfOperation(row))}</td>
            <td class="said"><div class="clip" title=${(row.error ?? row.message) || nothing}>${row.error ?? row.message ?? ""}</div></td>
            <td class="num took">${duration(row.duration_seconds)}</td>
            <td class="num"><bellwether-time mode="ago" .at=${row.completed_at} .offset=${offset}></bellwether-time></td>
          </tr>`,
        )}
      </tbody>
    </table>`;
  }
}

function byCreation(a: Operation, b: Operation): number {
  if (a.created_at !== b.created_at) return a.created_at < b.created_at ? 1 : -1;
  return a.id < b.id ? 1 : -1;
}

function byEnd(a: Operation, b: Operation): number {
  return (a.completed_at ?? "") < (b.completed_at ?? "") ? 1 : -1;
}

function summary(active: readonly Operation[]): string {
  const of = (status: Operation["status"]) => active.filter((row) => row.status === status).length;
  const known = [
    [of("in_progress"), "running"],
    [of("pending"), "pending"],
    [of("paused"), "paused"],
  ] as const;
  return known
    .filter(([number]) => number > 0)
    .map(([number, name]) => `${count(number)} ${name}`)
    .join(", ");
}

define("bellwether-now-page", NowPage);
