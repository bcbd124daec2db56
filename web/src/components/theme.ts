/**
 * The look: every colour is a custom property that a page may set (`--bw-accent: …`), with a light and a dark default.
 * Which of the two applies is the page's `color-scheme`, or the element's `theme` attribute.
 */
import { css } from "lit";

export const theme = css`
  :host {
    --_bg: var(--bw-background, light-dark(#f5f6f8, #0e1116));
    --_surface: var(--bw-surface, light-dark(#ffffff, #161b22));
    --_sunken: var(--bw-sunken, light-dark(#eef0f4, #1f2530));
    --_border: var(--bw-border, light-dark(#dfe3e9, #2b323e));
    --_text: var(--bw-text, light-dark(#1a2130, #e4e8ef));
    --_muted: var(--bw-muted, light-dark(#566072, #9ba6b7));
    --_accent: var(--bw-accent, light-dark(#3355c8, #8fa8ff));
    --_ok: var(--bw-ok, light-dark(#18703f, #5fca92));
    --_warn: var(--bw-warn, light-dark(#8a5200, #e3ab4f));
    --_bad: var(--bw-bad, light-dark(#b3261e, #ff8d83));
    --_info: var(--bw-info, light-dark(#1f5fbf, #7fb2ff));
    --_radius: var(--bw-radius, 8px);
    --_shadow: var(--bw-shadow, 0 6px 24px light-dark(rgb(20 28 45 / 14%), rgb(0 0 0 / 55%)));
    --_font: var(--bw-font, ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif);
    --_mono: var(--bw-font-mono, ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace);
    color: var(--_text);
    font: 14px/1.45 var(--_font);
    font-variant-numeric: tabular-nums;
    -webkit-text-size-adjust: 100%;
  }
  :host([theme="light"]) {
    color-scheme: light;
  }
  :host([theme="dark"]) {
    color-scheme: dark;
  }
  :host([hidden]) {
    display: none;
  }
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  :focus-visible {
    outline: 2px solid var(--_accent);
    outline-offset: 2px;
    border-radius: 4px;
  }
  a {
    color: var(--_accent);
    text-underline-offset: 2px;
  }
  h1,
  h2,
  h3,
  p,
  dl,
  dd,
  ul,
  ol,
  figure {
    margin: 0;
    padding: 0;
  }
  ul,
  ol {
    list-style: none;
  }
  .muted {
    color: var(--_muted);
  }
  .clip {
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
    min-width: 0;
  }
  .num {
    text-align: end;
    white-space: nowrap;
  }
  .mono {
    font-family: var(--_mono);
    font-size: 12.5px;
  }
  .hidden-visually {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  @media (prefers-reduced-motion: reduce) {
    *,
    *::before,
    *::after {
      animation: none !important;
      transition: none !important;
    }
  }
`;

/** Buttons, fields, cards, chips: what several components are made of. */
export const parts = css`
  button,
  .button,
  input,
  select {
    font: inherit;
    color: inherit;
    border: 1px solid var(--_border);
    border-radius: 6px;
    background: var(--_surface);
    padding: 5px 10px;
    min-height: 34px;
    max-width: 100%;
  }
  input::placeholder {
    color: var(--_muted);
    opacity: 1;
  }
  button,
  .button {
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 6px;
    cursor: pointer;
    text-decoration: none;
    color: var(--_text);
    font-weight: 500;
    white-space: nowrap;
  }
  button:hover:not(:disabled),
  .button:hover {
    background: var(--_sunken);
  }
  button:disabled,
  .button[aria-disabled="true"] {
    color: var(--_muted);
    cursor: default;
  }
  .card {
    background: var(--_surface);
    border: 1px solid var(--_border);
    border-radius: var(--_radius);
  }
  .chip {
    --_tone: var(--_muted);
    display: inline-flex;
    align-items: center;
    gap: 5px;
    color: var(--_tone);
    font-weight: 600;
    font-size: 12.5px;
    white-space: nowrap;
  }
  .chip svg {
    flex: none;
  }
  [data-tone="ok"] {
    --_tone: var(--_ok);
  }
  [data-tone="warn"] {
    --_tone: var(--_warn);
  }
  [data-tone="bad"] {
    --_tone: var(--_bad);
  }
  [data-tone="info"] {
    --_tone: var(--_info);
  }
  [data-tone="muted"] {
    --_tone: var(--_muted);
  }
  svg.icon {
    width: 1em;
    height: 1em;
    fill: none;
    stroke: currentColor;
    stroke-width: 2;
    stroke-linecap: round;
    stroke-linejoin: round;
  }
  .bar {
    position: relative;
    height: 6px;
    border-radius: 3px;
    background: var(--_sunken);
    overflow: hidden;
  }
  .bar i {
    position: absolute;
    inset: 0;
    border-radius: inherit;
    background: var(--_tone, var(--_info));
    transform-origin: 0 50%;
    transition: transform 0.5s linear;
  }
  :host(:dir(rtl)) .bar i {
    transform-origin: 100% 50%;
  }
  .bar.unknown i {
    inset-inline-end: auto;
    width: 30%;
    animation: drift 1.6s ease-in-out infinite alternate;
    animation-play-state: var(--_drift, running);
  }
  @keyframes drift {
    from {
      transform: translateX(-20%);
    }
    to {
      transform: translateX(255%);
    }
  }
  @media (prefers-reduced-motion: reduce) {
    .bar.unknown i {
      width: 100%;
      opacity: 0.35;
    }
  }
  .empty {
    display: grid;
    justify-items: center;
    gap: 6px;
    padding: 36px 20px;
    text-align: center;
    color: var(--_muted);
  }
  .empty strong {
    color: var(--_text);
    font-size: 15px;
  }
  .empty svg.icon {
    width: 28px;
    height: 28px;
    stroke-width: 1.5;
  }
  .skeleton {
    border-radius: 4px;
    background: var(--_sunken);
    animation: breathe 1.4s ease-in-out infinite alternate;
  }
  @keyframes breathe {
    to {
      opacity: 0.45;
    }
  }
`;
