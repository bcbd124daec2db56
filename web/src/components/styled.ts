/**
 * Styles that are computed, set through the object model. Lit's own `styleMap` writes a `style` attribute when it first
 * draws, which a strict Content-Security-Policy refuses.
 */
import { nothing } from "lit";
import { Directive, directive, type ElementPart } from "lit/directive.js";

class Styled extends Directive {
  readonly #set = new Map<string, string>();

  override update(part: ElementPart, [styles]: [Readonly<Record<string, string>>]): typeof nothing {
    const { style } = part.element as HTMLElement;
    for (const name of this.#set.keys()) {
      if (!(name in styles)) style.removeProperty(name);
    }
    for (const [name, value] of Object.entries(styles)) {
      if (this.#set.get(name) !== value) style.setProperty(name, value);
    }
    this.#set.clear();
    for (const [name, value] of Object.entries(styles)) this.#set.set(name, value);
    return nothing;
  }

  override render(_styles: Readonly<Record<string, string>>): typeof nothing {
    return nothing;
  }
}

/** Sets CSS properties of the element in whose tag it stands: `<i ${styled({ transform: "…" })}>`. */
export const styled = directive(Styled);
