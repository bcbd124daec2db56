/** The few icons there are: drawn here, so that nothing has to be fetched. */
import { html, type SVGTemplateResult, svg, type TemplateResult } from "lit";

const draw = (paths: SVGTemplateResult) =>
  html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">${paths}</svg>`;

const PATHS = {
  bell: svg`<path d="M6 16V11a6 6 0 0 1 12 0v5l2 2H4z"/><path d="M10 21h4"/>`,
  check: svg`<circle cx="12" cy="12" r="9"/><path d="m8 12 3 3 5-6"/>`,
  cross: svg`<circle cx="12" cy="12" r="9"/><path d="m9 9 6 6m0-6-6 6"/>`,
  stop: svg`<circle cx="12" cy="12" r="9"/><path d="M8 12h8"/>`,
  run: svg`<circle cx="12" cy="12" r="9"/><path d="m10.5 8.5 5 3.5-5 3.5z"/>`,
  pause: svg`<circle cx="12" cy="12" r="9"/><path d="M10 9v6m4-6v6"/>`,
  wait: svg`<circle cx="12" cy="12" r="9"/><path d="M12 7v5l3 2"/>`,
  warn: svg`<path d="M12 4 2.8 20h18.4z"/><path d="M12 10v4m0 3v.01"/>`,
  link: svg`<path d="M9 15 15 9"/><path d="M11 6.5 13 4.5a4.2 4.2 0 0 1 6 6l-2 2M13 17.5l-2 2a4.2 4.2 0 0 1-6-6l2-2"/>`,
  unlink: svg`<path d="M13 5.5a4.2 4.2 0 0 1 5.5 5.5l-1.5 1.5M11 18.5a4.2 4.2 0 0 1-5.5-5.5l1.5-1.5M4 4l16 16"/>`,
  search: svg`<circle cx="11" cy="11" r="6.5"/><path d="m16 16 4.5 4.5"/>`,
  download: svg`<path d="M12 4v11m-4-4 4 4 4-4M5 20h14"/>`,
  close: svg`<path d="m6 6 12 12M18 6 6 18"/>`,
  pulse: svg`<path d="M3 12h4l3-7 4 14 3-7h4"/>`,
  back: svg`<path d="m14 6-6 6 6 6"/>`,
  next: svg`<path d="m10 6 6 6-6 6"/>`,
  up: svg`<path d="m6 14 6-6 6 6"/>`,
  inbox: svg`<path d="M4 13 6.5 5h11L20 13v6H4z"/><path d="M4 13h5a3 3 0 0 0 6 0h5"/>`,
} as const;

/** The names of the icons. */
export type IconName = keyof typeof PATHS;

/** An icon as large as the text beside it. It says nothing by itself: a text must. */
export function icon(name: IconName): TemplateResult {
  return draw(PATHS[name]);
}
