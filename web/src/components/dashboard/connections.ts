import { css, html, nothing } from "lit";
import type { Connection } from "../../client/index.js";
import { define } from "../element.js";
import { agent, count, lookOfConnection, UNKNOWN } from "../format.js";
import { chip } from "../progress.js";
import { DashboardPage, emptiness, pageStyles, skeletonRows } from "./page.js";
import "../time.js";

/** Connections that are drawn at first, and by how many more each time. */
const STEP = 200;
const RANK = { error: 0, reconnecting: 1, connected: 2, disconnected: 3 } as const;

/** Who is connected, live: those in trouble first. */
export class ConnectionsPage extends DashboardPage {
  static override properties = { ...DashboardPage.properties, shown: { state: true } };
  declare shown: number;
  protected readonly path = "connections";
  static override styles = [
    ...pageStyles,
    css`
      form {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
      }
      form label {
        display: flex;
        gap: 8px;
        align-items: center;
        color: var(--_muted);
        font-size: 13px;
      }
      form select {
        color: var(--_text);
        font-size: 14px;
      }
      .foot {
        padding: 10px 16px;
        border-top: 1px solid var(--_border);
      }
      td.client {
        width: 34%;
        max-width: 0;
      }
      td.from {
        width: 66%;
        max-width: 0;
      }
      .near {
        display: none;
      }
      tr.gone td {
        color: var(--_muted);
      }
      @media (max-width: 720px) {
        td.client {
          width: 100%;
        }
        :is(th, td).far {
          display: none;
        }
      }
      @media (max-width: 480px) {
        :is(th, td).wide {
          display: none;
        }
        .near {
          display: inline;
        }
      }
    `,
  ];
  readonly #connection = this.followConnection();
  readonly #live = this.follow(() => ({ topics: ["connections"] }));

  constructor() {
    super();
    this.shown = STEP;
  }

  #rows(): Connection[] {
    const status = this.query.get("status");
    const source = this.query.get("source");
    return [...(this.#live.state?.connections.values() ?? [])]
      .filter((row) => (!status || row.status === status) && (!source || row.source === source))
      .sort((a, b) => (RANK[a.status] ?? 9) - (RANK[b.status] ?? 9) || byRecency(a, b));
  }

  protected override render(): unknown {
    const ready = this.#live.state?.ready ?? false;
    const rows = this.#rows();
    return html`
      <div class="heading"><h1 tabindex="-1">Connections</h1>${this.#filters()}</div>
      <section class="card" aria-label="Connections">
        ${ready ? this.#table(rows) : skeletonRows(6)}
      </section>
    `;
  }

  #filters() {
    const select = (name: string, label: string, values: readonly string[]) => html`<label>${label}
      <select name=${name} @change=${(event: Event) => this.refine({ [name]: (event.target as HTMLSelectElement).value })}>
        <option value="">Any</option>
        ${values.map((value) => html`<option value=${value} ?selected=${this.query.get(name) === value}>${value}</option>`)}
      </select>
    </label>`;
    return html`<form>
      ${select("status", "Status", ["connected", "reconnecting", "error", "disconnected"])} ${select("source", "Source", ["app", "relay"])}
    </form>`;
  }

  #table(rows: readonly Connection[]) {
    if (rows.length === 0) {
      return this.query.get("status") || this.query.get("source")
        ? emptiness("search", "Nothing matches", "No connection is as the filters ask for.")
        : emptiness(
            "link",
            "Nobody is connected",
            "Clients of the relay, and those that applications report, are shown here.",
          );
    }
    return html`
      <div class="scroll" tabindex="0" role="region" aria-label="Connections, table">
        <table>
          <thead>
            <tr>
              <th>Client</th><th>Status</th><th class="num wide">Latency</th><th class="num far">Reconnects</th>
              <th class="far">From</th><th class="num wide">Since</th>
            </tr>
          </thead>
          <tbody>${rows.slice(0, this.shown).map((row) => this.#row(row))}</tbody>
        </table>
      </div>
      ${
        rows.length > this.shown
          ? html`<div class="foot"><button @click=${() => {
              this.shown += STEP;
            }}>Show more of ${count(rows.length)}</button></div>`
          : nothing
      }
    `;
  }

  #row(row: Connection) {
    const since = row.status === "connected" ? row.connected_at : (row.disconnected_at ?? row.updated_at);
    const offset = this.#connection().clockOffsetMs;
    const ago = html`<bellwether-time mode="ago" .at=${since} .offset=${offset}></bellwether-time>`;
    const { connectionId } = this.#connection();
    const own = connectionId !== null && row.client_id.endsWith(connectionId);
    return html`<tr class=${row.status === "disconnected" ? "gone" : ""}>
      <td class="client">
        <div class="clip mono" title=${row.client_id}>${shortName(row)}</div>
        <div class="muted clip">${own ? html`<b>this page</b>` : row.source === "relay" ? "subscriber" : "application"}<span class="near"> · ${ago}</span></div>
      </td>
      <td>${chip(lookOfConnection(row.status))}</td>
      <td class="num wide">${row.latency_ms === null ? UNKNOWN : `${count(Math.round(row.latency_ms))} ms`}</td>
      <td class="num far">${count(row.reconnect_attempts)}</td>
      <td class="far from"><div class="clip">${row.address ?? ""}</div><div class="muted clip" title=${row.user_agent ?? nothing}>${agent(row.user_agent ?? "")}</div></td>
      <td class="num wide">${ago}</td>
    </tr>`;
  }
}

/** Who is there in the order of their names, who is gone with the last one first. */
function byRecency(a: Connection, b: Connection): number {
  const order = a.client_id < b.client_id ? -1 : 1;
  if (a.status !== "disconnected") return order;
  const [left, right] = [a.disconnected_at ?? a.updated_at, b.disconnected_at ?? b.updated_at];
  return left === right ? order : left > right ? -1 : 1;
}

/** A relay's own subscribers are named after their carrier and a long id, of which the beginning will do. */
function shortName(row: Connection): string {
  return row.source === "relay" ? row.client_id.replace(/^(\w+:[0-9a-f]{8})-[0-9a-f-]{27}$/, "$1…") : row.client_id;
}

define("bellwether-connections-page", ConnectionsPage);
