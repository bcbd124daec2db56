/** Times that stay true while the page is open: one clock for all of them. */
import { html, LitElement, nothing } from "lit";
import { property } from "lit/decorators.js";
import { define } from "./element.js";
import { distance, duration, exact, moment, preciseMoment, UNKNOWN } from "./format.js";

const shown = new Set<RelayTime>();
let timer: ReturnType<typeof setInterval> | undefined;

function watch(element: RelayTime): void {
  shown.add(element);
  timer ??= setInterval(() => {
    for (const each of shown) each.requestUpdate();
  }, 1_000);
}

function unwatch(element: RelayTime): void {
  shown.delete(element);
  if (shown.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}

/**
 * `<bellwether-time at="…" mode="ago|clock|precise|left|since">`: how long ago, the time of day (to the millisecond), the time that is left, or the
 * time that has passed; the exact instant on hover.
 */
export class RelayTime extends LitElement {
  @property() at: string | null | undefined;
  @property() mode: "ago" | "clock" | "precise" | "left" | "since" = "ago";
  /** How far the database's clock is ahead of this machine's, in ms. */
  @property({ type: Number }) offset = 0;

  override connectedCallback(): void {
    super.connectedCallback();
    if (this.mode !== "clock" && this.mode !== "precise") watch(this);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    unwatch(this);
  }

  /** In the page's own tree: it takes the look of the text around it. */
  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  protected override render(): unknown {
    if (!this.at) return UNKNOWN;
    const instant = Date.parse(this.at);
    const now = Date.now() + this.offset;
    return html`<time datetime=${this.at} title=${exact(this.at) || nothing}>${this.#text(instant, now)}</time>`;
  }

  #text(instant: number, now: number): string {
    switch (this.mode) {
      case "clock":
        return moment(instant, now);
      case "precise":
        return preciseMoment(instant, now);
      case "left":
        return instant <= now ? "due now" : `${duration(Math.ceil((instant - now) / 1000))} left`;
      case "since":
        return duration(Math.max(1, Math.floor((now - instant) / 1000)));
      case "ago":
        return distance(Math.min(instant, now), now);
    }
  }
}

define("bellwether-time", RelayTime);
