import { css, html, nothing } from "lit";
import { repeat } from "lit/directives/repeat.js";
import type { Change } from "../client/index.js";
import { isActive, type Operation } from "../client/index.js";
import { define, LIVE, RelayElement } from "./element.js";
import { duration, type Look, lookOfHealth, lookOfOperation, words } from "./format.js";
import { icon } from "./icons.js";
import { parts, theme } from "./theme.js";

interface Toast {
  readonly id: number;
  /** Toasts of one kind that come together become one. */
  readonly kind: string;
  readonly look: Look;
  readonly title: string;
  readonly text: string;
  readonly count: number;
  readonly stays: boolean;
}

/** How many are shown at once; older ones give way. */
const MOST = 4;
/** How long one stays that is no bad news, in ms. */
const STAY_MS = 6_000;
/** Toasts of one kind within this time are one, in ms: hundreds that end together are one piece of news. */
const TOGETHER_MS = 1_500;

/**
 * `<bellwether-toasts>`: says when an operation completed or failed, health changed, the connection was lost or is
 * back. Bad news stays until it is closed. `quiet` leaves out completed operations; `owner` follows only theirs.
 */
export class Toasts extends RelayElement {
  static override properties = { quiet: { type: Boolean }, owner: { type: String }, toasts: { state: true } };
  declare quiet: boolean;
  declare owner: string | undefined;
  declare toasts: readonly Toast[];
  static override styles = [
    theme,
    parts,
    css`
      :host {
        position: fixed;
        inset: var(--bw-toasts-inset, auto 16px 16px auto);
        z-index: 2147483001;
        width: 340px;
        max-width: calc(100vw - 32px);
        pointer-events: none;
      }
      .stack {
        display: grid;
        gap: 8px;
      }
      .toast {
        display: grid;
        grid-template-columns: auto 1fr auto;
        gap: 10px;
        padding: 10px 6px 10px 12px;
        box-shadow: var(--_shadow);
        border-inline-start: 3px solid var(--_tone);
        pointer-events: auto;
        animation: arrive 0.18s ease-out;
      }
      .toast > svg {
        color: var(--_tone);
        margin-top: 3px;
      }
      .toast p {
        overflow-wrap: anywhere;
        display: -webkit-box;
        -webkit-line-clamp: 3;
        -webkit-box-orient: vertical;
        overflow: hidden;
      }
      .toast button {
        border: 0;
        background: none;
        min-height: 0;
        padding: 6px;
        align-self: start;
      }
      @keyframes arrive {
        from {
          opacity: 0;
          transform: translateY(6px);
        }
      }
    `,
  ];
  #count = 0;
  readonly #since = new Map<string, number>();
  #stops: (() => void)[] = [];

  constructor() {
    super();
    this.toasts = [];
    this.quiet = false;
    this.follow(
      () => (this.owner ? { ...LIVE, owner: [this.owner] } : LIVE),
      (view) => {
        const stop = view.on("change", (change) => this.#operation(change));
        let before = view.getSnapshot().health?.status;
        const unsubscribe = view.subscribe(() => {
          const now = view.getSnapshot().health?.status;
          if (before !== undefined && now !== undefined && now !== before) this.#health(now);
          before = now ?? before;
        });
        return () => {
          stop();
          unsubscribe();
        };
      },
    );
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const { relay } = this;
    this.#stops = [
      relay.on("lost", (state) =>
        this.#add(
          "connection",
          { label: "", tone: "warn", icon: "unlink" },
          "Connection lost",
          state.reason ?? "It is being made again.",
          true,
        ),
      ),
      relay.on("back", () =>
        this.#add(
          "connection",
          { label: "", tone: "ok", icon: "link" },
          "Connection is back",
          "Nothing is missing.",
          false,
        ),
      ),
    ];
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    for (const stop of this.#stops) stop();
  }

  #operation({ event, previous }: Change): void {
    if (event.topic !== "operations" || event.type === "operation.deleted" || event.type === "table.truncated") return;
    const row = event.data as Operation;
    if (isActive(row.status) || (previous && !isActive(previous.status))) return;
    // A row that is told for the first time, finished, is news only when it was born so.
    if (!previous && event.type === "operation.progress") return;
    if (row.status === "cancelled" || (row.status === "completed" && this.quiet)) return;
    const what = words(row.operation_type);
    if (row.status === "failed")
      return this.#add("failed", lookOfOperation(row), `${what} failed`, row.error ?? row.owner ?? "", true);
    const took = row.duration_seconds === null ? "" : `It took ${duration(row.duration_seconds)}.`;
    this.#add("completed", lookOfOperation(row), `${what} completed`, took, false);
  }

  #health(status: Parameters<typeof lookOfHealth>[0]): void {
    const look = lookOfHealth(status);
    this.#add("health", look, `Health: ${look.label.toLowerCase()}`, "", look.tone === "bad");
  }

  #add(kind: string, look: Look, title: string, text: string, stays: boolean): void {
    const now = Date.now();
    const together =
      now - (this.#since.get(kind) ?? 0) < TOGETHER_MS ? this.toasts.find((toast) => toast.kind === kind) : undefined;
    this.#since.set(kind, now);
    // News of the connection replaces older news of it.
    const others = this.toasts.filter((toast) => toast !== together && !(kind === "connection" && toast.kind === kind));
    const count = (kind === "failed" || kind === "completed") && together ? together.count + 1 : 1;
    const id = together?.id ?? ++this.#count;
    const toast = {
      id,
      kind,
      look,
      title: count > 1 ? `${count} operations ${kind}` : title,
      text: count > 1 ? `The last: ${title.toLowerCase()}` : text,
      count,
      stays,
    };
    this.toasts = [...others, toast].slice(-MOST);
    if (!stays) setTimeout(() => this.#close(id, now), STAY_MS);
  }

  /** Closes a toast, unless news was added to it after it was to be closed. */
  #close(id: number, at?: number): void {
    const toast = this.toasts.find((each) => each.id === id);
    if (!toast || (at !== undefined && (this.#since.get(toast.kind) ?? 0) > at)) return;
    this.toasts = this.toasts.filter((each) => each.id !== id);
  }

  protected override render(): unknown {
    return html`<div class="stack" role="log" aria-live="polite" aria-label="Notifications" aria-relevant="additions">
      ${repeat(
        this.toasts,
        (toast) => toast.id,
        (toast) => html`<div class="card toast" data-tone=${toast.look.tone}>
          ${icon(toast.look.icon)}
          <div><strong>${toast.title}</strong>${toast.text ? html`<p class="muted">${toast.text}</p>` : nothing}</div>
          <button aria-label="Close: ${toast.title}" @click=${() => this.#close(toast.id)}>${icon("close")}</button>
        </div>`,
      )}
    </div>`;
  }
}

define("bellwether-toasts", Toasts);
