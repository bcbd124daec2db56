import { css, html, nothing, type PropertyValues } from "lit";
import { define, LIVE, RelayElement } from "../element.js";
import { count, lookOfRelay, sentence } from "../format.js";
import { icon } from "../icons.js";
import { parts, theme } from "../theme.js";
import { memoryHistory, type Places, pageHistory, type Route, routeOf } from "./router.js";
import "./connections.js";
import "./health-page.js";
import "./history.js";
import "./now.js";
import "./operation-page.js";
import { emptiness } from "./page.js";
import "../time.js";
import "../toasts.js";

const TITLES = {
  now: "Now",
  history: "History",
  health: "Health",
  connections: "Connections",
  operation: "Operation",
  unknown: "Not found",
};
const PLACES = [
  ["now", ""],
  ["history", "history"],
  ["health", "health"],
  ["connections", "connections"],
] as const;

/**
 * `<bellwether-dashboard>`: everything. With `routing="page"` its views are the page's own URLs below `base`;
 * without, they are kept in memory, as befits a part of somebody else's page.
 */
export class Dashboard extends RelayElement {
  static override properties = { routing: { type: String }, base: { type: String }, route: { state: true } };
  declare routing: string | undefined;
  declare base: string;
  declare route: Route;
  static override styles = [
    theme,
    parts,
    css`
      :host {
        display: block;
        min-height: 100%;
        background: var(--_bg);
      }
      .top {
        position: sticky;
        top: 0;
        z-index: 10;
        background: var(--_surface);
        border-bottom: 1px solid var(--_border);
        box-shadow: inset 0 3px 0 var(--_tone, transparent);
      }
      .top[data-tone="ok"] {
        box-shadow: none;
      }
      .inner {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0 24px;
        max-width: 1320px;
        margin: 0 auto;
        padding: 0 20px;
        min-height: 57px;
      }
      .brand {
        display: flex;
        gap: 8px;
        align-items: center;
        font-weight: 700;
        font-size: 15.5px;
        letter-spacing: -0.01em;
        color: inherit;
        text-decoration: none;
      }
      .brand svg {
        width: 20px;
        height: 20px;
        color: var(--_accent);
      }
      nav {
        display: flex;
        gap: 4px;
        min-width: 0;
      }
      nav a {
        padding: 17px 9px 15px;
        color: var(--_muted);
        text-decoration: none;
        font-weight: 500;
        border-bottom: 2px solid transparent;
      }
      nav a:hover {
        color: var(--_text);
      }
      nav a[aria-current] {
        color: var(--_text);
        border-color: var(--_accent);
      }
      nav a:focus-visible {
        outline-offset: -3px;
      }
      .truth {
        flex: 1;
        display: grid;
        grid-template-columns: minmax(0, 1fr);
        justify-items: end;
        font-size: 12.5px;
        line-height: 1.4;
        min-width: 0;
        padding: 8px 0;
      }
      .truth .chip {
        font-size: 13.5px;
      }
      .truth > span {
        max-width: 100%;
      }
      .reason {
        border-top: 1px solid var(--_border);
        background: color-mix(in srgb, var(--_tone) 9%, var(--_surface));
        font-size: 13px;
      }
      .reason p {
        max-width: 1320px;
        margin: 0 auto;
        padding: 7px 20px;
        overflow-wrap: anywhere;
      }
      /* What is old looks it: paler, and without motion. */
      main[data-old] {
        --_drift: paused;
        filter: saturate(0.25);
      }
      main {
        max-width: 1320px;
        margin: 0 auto;
        padding: 20px 20px 48px;
      }
      .skip {
        position: absolute;
        inset-inline-start: -9999px;
      }
      .skip:focus {
        inset-inline-start: 8px;
        top: 8px;
        z-index: 11;
      }
      main h1 {
        font-size: 16px;
      }
      bellwether-toasts {
        --bw-toasts-inset: auto 20px 20px auto;
      }
      @media (max-width: 860px) {
        .inner {
          padding: 0 12px;
          gap: 0 12px;
        }
        .brand {
          padding: 12px 0 6px;
        }
        nav {
          order: 3;
          width: 100%;
          overflow-x: auto;
          margin: 0 -4px;
        }
        nav a {
          padding: 8px 9px;
        }
        .truth {
          padding: 8px 0 2px;
        }
        .reason p {
          padding: 7px 12px;
        }
        main {
          padding: 14px 12px 40px;
        }
      }
    `,
  ];
  #places: Places = pageHistory;
  #stop: (() => void) | undefined;
  readonly #connection = this.followConnection();
  /** Held for as long as the dashboard is there, so that going from view to view subscribes nothing anew. */
  readonly #live = this.follow(() => LIVE);

  constructor() {
    super();
    this.base = "/";
    this.route = { name: "now", query: new URLSearchParams() };
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#places = this.routing === "page" ? pageHistory : memoryHistory(this.base);
    this.route = routeOf(this.#places.current(), this.base);
    this.#stop = this.#places.listen(() => {
      this.route = routeOf(this.#places.current(), this.base);
    });
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#stop?.();
  }

  #go(path: string, replace: boolean): void {
    const before = this.route;
    this.#places.go(new URL(this.base + path, this.#places.current()), replace);
    this.route = routeOf(this.#places.current(), this.base);
    if (!replace && (before.name !== this.route.name || before.name === "operation")) void this.#arrive();
  }

  /** A new view is read from its top, and by a screen reader from its heading. */
  async #arrive(): Promise<void> {
    await this.updateComplete;
    if (this.routing === "page") scrollTo(0, 0);
    const page = this.renderRoot.querySelector("main > *");
    if (page && "updateComplete" in page) await page.updateComplete;
    page?.shadowRoot?.querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
  }

  /** A plain click on a link to another view changes the view and not the page. */
  #click(event: MouseEvent): void {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    const link = event.composedPath().find((node): node is HTMLAnchorElement => node instanceof HTMLAnchorElement);
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    const url = new URL(link.href);
    if (!url.pathname.startsWith(this.base) || routeOf(url, this.base).name === "unknown" || url.hash) return;
    event.preventDefault();
    this.#go(url.pathname.slice(this.base.length) + url.search, false);
  }

  protected override updated(changed: PropertyValues<this>): void {
    if (this.routing === "page" && changed.has("route")) document.title = `${TITLES[this.route.name]} · Bellwether`;
  }

  protected override render(): unknown {
    return html`<div
      @click=${this.#click}
      @go=${(event: CustomEvent<{ path: string; replace: boolean }>) => this.#go(event.detail.path, event.detail.replace)}
    >
      ${this.#header()}
      <main id="main" tabindex="-1" ?data-old=${this.#connection().staleSince !== null}>${this.#page()}</main>
      <bellwether-toasts quiet .client=${this.relay} .theme=${this.theme}></bellwether-toasts>
    </div>`;
  }

  #header() {
    const state = this.#connection();
    const look = lookOfRelay(state);
    return html`<header class="top" data-tone=${look.tone}>
      <button class="skip" @click=${this.#skip}>Skip to the content</button>
      <div class="inner">
        <a class="brand" href=${this.base}>${icon("bell")}Bellwether</a>
        <nav aria-label="Views">
          ${PLACES.map(
            ([name, path]) =>
              html`<a href="${this.base}${path}" aria-current=${this.#isIn(name) ? "page" : nothing}>${TITLES[name]}</a>`,
          )}
        </nav>
        <div class="truth">
          <span class="chip" data-tone=${look.tone} role="status" title=${state.reason ?? nothing}>
            ${icon(look.icon)}${look.label}${state.staleSince ? html` since <bellwether-time mode="clock" .at=${state.staleSince}></bellwether-time>` : nothing}
          </span>
          ${this.#detail()}
        </div>
      </div>
      ${this.#reason()}
    </header>`;
  }

  #isIn(name: Route["name"]): boolean {
    return this.route.name === name || (name === "history" && this.route.name === "operation");
  }

  /** Up to when everything is here, how far the relay is, and by what way. */
  #detail() {
    const state = this.#connection();
    const as = state.completeAsOf
      ? html`complete as of <bellwether-time mode="clock" .at=${state.completeAsOf}></bellwether-time>`
      : state.phase === "live"
        ? "just connected"
        : "";
    const latency = state.latencyMs === null ? nothing : html` · ${count(state.latencyMs)} ms`;
    const via = state.transport === "sse" ? " · by SSE" : "";
    return html`<span class="muted clip">${as}${latency}${via}&nbsp;</span>`;
  }

  /** Why it is not live, where that is known: in full, for those who cannot hover. */
  #reason() {
    const state = this.#connection();
    if (state.phase === "live" || state.phase === "stopped" || !state.reason) return nothing;
    const isOver = state.phase === "refused" || state.phase === "connecting";
    const again = html` <a href="" @click=${this.#retry}>Try again</a>`;
    return html`<div class="reason"><p>${sentence(state.reason)}${isOver ? again : nothing}</p></div>`;
  }

  #retry(event: Event): void {
    event.preventDefault();
    event.stopPropagation();
    this.relay.retryNow();
  }

  #skip(): void {
    this.renderRoot.querySelector<HTMLElement>("#main")?.focus();
  }

  #page() {
    const { route, base } = this;
    const { query } = route;
    const client = this.relay;
    // What the views follow is held here; a refusal of it concerns them all.
    const refusal = this.#live.state?.refusal;
    if (refusal) return emptiness("warn", "The relay refused the subscription", refusal);
    switch (route.name) {
      case "now":
        return html`<bellwether-now-page .client=${client} .base=${base} .query=${query}></bellwether-now-page>`;
      case "history":
        return html`<bellwether-history-page .client=${client} .base=${base} .query=${query}></bellwether-history-page>`;
      case "health":
        return html`<bellwether-health-page .client=${client} .base=${base} .query=${query}></bellwether-health-page>`;
      case "connections":
        return html`<bellwether-connections-page .client=${client} .base=${base} .query=${query}></bellwether-connections-page>`;
      case "operation":
        return html`<bellwether-operation-page .client=${client} .base=${base} .query=${query} .operationId=${route.id}></bellwether-operation-page>`;
      case "unknown":
        return html`<div class="card">
          ${emptiness("search", html`<h1>There is nothing here</h1>`, html`No view has the address ${base}${route.path}.`, html`<a href=${base}>To the beginning</a>`)}
        </div>`;
    }
  }
}

define("bellwether-dashboard", Dashboard);
