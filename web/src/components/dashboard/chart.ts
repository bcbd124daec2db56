import { css, html, LitElement, type PropertyValues, unsafeCSS } from "lit";
import uPlot from "uplot";
import uplotStyles from "uplot/dist/uPlot.min.css?inline";
import { define } from "../element.js";
import { moment, UNKNOWN } from "../format.js";
import { theme } from "../theme.js";

/** Height of the drawing in px. */
const HEIGHT_PX = 150;

/**
 * A line over time. Charts with the same `group` share their cursor. Where nothing is known the line breaks and the
 * ground is shaded. The drawing is for the eye; the numbers are in the text beside it and in the table below the charts.
 */
export class TrendChart extends LitElement {
  static override properties = {
    label: { type: String },
    times: { attribute: false },
    values: { attribute: false },
    gaps: { attribute: false },
    from: { type: Number },
    to: { type: Number },
    top: { type: Number },
    tone: { type: String },
    format: { attribute: false },
    at: { state: true },
  };
  declare label: string;
  declare times: readonly number[];
  declare values: readonly (number | null)[];
  declare gaps: readonly (readonly [number, number])[];
  /** The drawn time, in seconds since 1970. */
  declare from: number;
  declare to: number;
  /** The least upper end of the scale. */
  declare top: number;
  declare tone: string;
  declare format: (value: number | null) => string;
  /** The point under the cursor. */
  declare at: number | null;
  static override styles = [
    unsafeCSS(uplotStyles),
    theme,
    css`
      :host {
        display: block;
        min-width: 0;
        padding: 12px 14px 8px;
      }
      .uplot {
        font-family: inherit;
        width: 100%;
      }
      .head {
        display: flex;
        justify-content: space-between;
        gap: 12px;
        align-items: baseline;
        min-height: 24px;
      }
      h3 {
        font-size: 13.5px;
        font-weight: 600;
      }
      .value {
        font-size: 13px;
      }
      .plot {
        height: ${HEIGHT_PX}px;
      }
      .probe {
        position: absolute;
        visibility: hidden;
      }
    `,
  ];
  #plot: uPlot | null = null;
  #observer: ResizeObserver | undefined;
  readonly #scheme = typeof matchMedia === "undefined" ? null : matchMedia("(prefers-color-scheme: dark)");
  readonly #repaint = () => this.#rebuild();

  constructor() {
    super();
    this.label = "";
    this.times = [];
    this.values = [];
    this.gaps = [];
    this.from = 0;
    this.to = 0;
    this.top = 1;
    this.tone = "accent";
    this.format = String;
    this.at = null;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#scheme?.addEventListener("change", this.#repaint);
    this.#observer = new ResizeObserver(() => this.#plot?.setSize({ width: this.#width, height: HEIGHT_PX }));
    this.#observer.observe(this);
    if (this.hasUpdated) this.#rebuild();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#scheme?.removeEventListener("change", this.#repaint);
    this.#observer?.disconnect();
    this.#plot?.destroy();
    this.#plot = null;
  }

  get #place(): HTMLElement {
    return this.renderRoot.querySelector(".plot") as HTMLElement;
  }

  get #width(): number {
    return Math.max(80, this.#place.clientWidth);
  }

  protected override updated(changed: PropertyValues<this>): void {
    if (!this.#plot || changed.has("tone") || changed.has("top")) return this.#rebuild();
    if (changed.has("times") || changed.has("values")) this.#plot.setData(this.#data, false);
    this.#plot.setScale("x", { min: this.from, max: this.to });
  }

  get #data(): uPlot.AlignedData {
    return [this.times as number[], this.values as (number | null)[]];
  }

  /** A theme colour as the canvas needs it: resolved. */
  #colour(name: string): string {
    const probe = this.renderRoot.querySelector(".probe") as HTMLElement;
    probe.style.color = `var(--_${name})`;
    return getComputedStyle(probe).color;
  }

  #rebuild(): void {
    if (!this.isConnected || !this.hasUpdated) return;
    this.#plot?.destroy();
    const [line, grid, text, sunken] = [this.tone, "border", "muted", "sunken"].map((name) => this.#colour(name)) as [
      string,
      string,
      string,
      string,
    ];
    const font = `11px ${getComputedStyle(this).fontFamily}`;
    const axis: uPlot.Axis = { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
    this.#plot = new uPlot(
      {
        width: this.#width,
        height: HEIGHT_PX,
        padding: [8, 14, 0, 0],
        legend: { show: false },
        cursor: { sync: { key: "bellwether" }, drag: { x: false, y: false }, y: false, points: { size: 7 } },
        scales: {
          x: { range: () => [this.from, this.to] },
          y: { range: (_plot, _min, max) => [0, Math.max(this.top, (max ?? 0) * 1.08)] },
        },
        axes: [
          {
            ...axis,
            space: 64,
            size: 26,
            values: (_plot, splits) => splits.map((split) => tick(split, this.to - this.from)),
          },
          { ...axis, size: 46, space: 34, values: (_plot, splits) => splits.map((split) => this.format(split)) },
        ],
        series: [{}, { stroke: line, width: 1.75, spanGaps: false, points: { show: false }, fill: translucent(line) }],
        hooks: {
          drawClear: [(plot) => shade(plot, this.gaps, sunken)],
          setCursor: [
            (plot) => {
              this.at = plot.cursor.idx ?? null;
            },
          ],
        },
      },
      this.#data,
      this.#place,
    );
  }

  protected override render(): unknown {
    const known = this.at !== null && this.times[this.at] !== undefined;
    const index = known ? (this.at as number) : this.values.length - 1;
    const value = this.values[index] ?? null;
    const time = this.times[index];
    const when = known && time !== undefined ? `${moment(time * 1000, Date.now())} · ` : "";
    return html`
      <span class="probe"></span>
      <div class="head">
        <h3>${this.label}</h3>
        <span class="value"><span class="muted">${when}</span><b>${value === null ? UNKNOWN : this.format(value)}</b></span>
      </div>
      <div class="plot" role="img" aria-label="${this.label}: ${this.#summary()}"></div>
    `;
  }

  /** The chart in a sentence. */
  #summary(): string {
    const all = this.values.filter((value): value is number => value !== null);
    if (all.length === 0) return "nothing is known";
    const least = all.reduce((a, b) => Math.min(a, b));
    const most = all.reduce((a, b) => Math.max(a, b));
    const gaps = this.gaps.length === 0 ? "" : `, ${this.gaps.length} ${this.gaps.length === 1 ? "gap" : "gaps"}`;
    return `between ${this.format(least)} and ${this.format(most)}, last ${this.format(all.at(-1) ?? null)}${gaps}`;
  }
}

/** A colour's ground under the line. */
function translucent(colour: string): string {
  const [r, g, b] = colour.match(/[\d.]+/g) ?? [];
  return `rgb(${r} ${g} ${b} / 10%)`;
}

function shade(plot: uPlot, gaps: readonly (readonly [number, number])[], colour: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = colour;
  for (const [from, to] of gaps) {
    const left = Math.max(bbox.left, plot.valToPos(from, "x", true));
    const right = Math.min(bbox.left + bbox.width, plot.valToPos(to, "x", true));
    if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
  }
  ctx.restore();
}

const hours = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const days = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

function tick(seconds: number, span: number): string {
  return (span > 2 * 86_400 ? days : hours).format(seconds * 1000);
}

define("bellwether-chart", TrendChart);
