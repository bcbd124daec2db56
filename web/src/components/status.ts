import { css, html, nothing } from "lit";
import { type Filter, isActive } from "../client/index.js";
import { define, RelayElement } from "./element.js";
import { count, lookOfHealth, lookOfRelay } from "./format.js";
import { icon } from "./icons.js";
import { parts, theme } from "./theme.js";
import "./time.js";

/** What the small elements follow: what goes on, and how things are. Finished operations are the dashboard's. */
export const NOW: Filter = { topics: ["operations", "health"], status: ["pending", "in_progress", "paused"] };

/**
 * `<bellwether-status>`: the connection, how many operations are active, and health, small enough for a page's header.
 * `href` makes it a link, for example to the dashboard.
 */
export class StatusIndicator extends RelayElement {
  static override properties = { href: { type: String } };
  declare href: string | undefined;
  static override styles = [
    theme,
    parts,
    css`
      :host {
        display: inline-block;
      }
      .line {
        display: inline-flex;
        align-items: center;
        gap: 10px;
        padding: 4px 10px;
        border: 1px solid var(--_border);
        border-radius: 999px;
        background: var(--_surface);
        color: var(--_text);
        text-decoration: none;
        font-size: 13px;
        white-space: nowrap;
      }
      .sep {
        width: 1px;
        height: 14px;
        background: var(--_border);
      }
      b {
        display: inline-block;
        min-width: 1.3em;
        text-align: end;
      }
    `,
  ];
  readonly #connection = this.followConnection();
  readonly #now = this.follow(() => NOW);

  protected override render(): unknown {
    const state = this.#connection();
    const relay = lookOfRelay(state);
    const view = this.#now.state;
    const health = lookOfHealth(view?.health?.status);
    const active = view?.ready ? [...view.operations.values()].filter((row) => isActive(row.status)).length : null;
    const content = html`
      <span class="chip" data-tone=${relay.tone} role="status" title=${state.reason ?? nothing}>
        ${icon(relay.icon)}${relay.label}
        ${state.staleSince ? html`since <bellwether-time mode="clock" .at=${state.staleSince}></bellwether-time>` : nothing}
      </span>
      <span class="sep"></span>
      <span><b>${count(active)}</b> active</span>
      <span class="sep"></span>
      <span class="chip" data-tone=${health.tone}>${icon("pulse")}${health.label}</span>
    `;
    return this.href
      ? html`<a class="line" href=${this.href}>${content}</a>`
      : html`<span class="line">${content}</span>`;
  }
}

define("bellwether-status", StatusIndicator);
