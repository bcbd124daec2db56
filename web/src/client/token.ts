/** A token and when it ends; without an end it is taken from the token where it is a JWT, else it never ends. */
export type Token = string | { readonly token: string; readonly expiresAt?: Date | number | string };

/** Gives a token whenever one is needed. */
export type TokenSource = () => Token | Promise<Token>;

/** The longest time that a timer can wait, in ms. */
const LONGEST_WAIT_MS = 2 ** 31 - 1;

/** Keeps a valid token: asks for a new one well before the present one ends, so that nobody is cut off by its end. */
export class TokenKeeper {
  readonly #source: TokenSource;
  readonly #renewed: (token: string) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #current: string | null = null;
  #expiresAt: number | null = null;

  constructor(source: TokenSource, renewed: (token: string) => void) {
    this.#source = source;
    this.#renewed = renewed;
  }

  /** A token that is valid now. Rejects when the source does. */
  async get(): Promise<string> {
    const valid = this.#current !== null && (this.#expiresAt === null || this.#expiresAt > Date.now() + 5_000);
    return valid ? (this.#current as string) : this.#fetch();
  }

  /** Forgets the present token, for example because the relay refused it. */
  discard(): void {
    this.#current = null;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  async #fetch(): Promise<string> {
    const given = await this.#source();
    const token = typeof given === "string" ? given : given.token;
    const stated = typeof given === "string" ? undefined : given.expiresAt;
    this.#current = token;
    this.#expiresAt = stated === undefined ? expiryOfJwt(token) : new Date(stated).getTime();
    this.#failures = 0;
    this.#plan();
    return token;
  }

  #plan(): void {
    clearTimeout(this.#timer);
    if (this.#expiresAt === null) return;
    const left = this.#expiresAt - Date.now();
    const margin = Math.min(60_000, Math.max(1_000, left * 0.2));
    this.#timer = setTimeout(() => void this.#renew(), Math.min(LONGEST_WAIT_MS, Math.max(0, left - margin)));
  }

  async #renew(): Promise<void> {
    if (this.#expiresAt !== null && this.#expiresAt - Date.now() > 120_000) return this.#plan();
    try {
      this.#renewed(await this.#fetch());
    } catch {
      this.#failures += 1;
      this.#timer = setTimeout(() => void this.#renew(), Math.min(30_000, 500 * 2 ** this.#failures));
    }
  }
}

/** When a JWT ends, in ms since 1970; null where the token is none or does not say. */
export function expiryOfJwt(token: string): number | null {
  const [, payload, signature] = token.split(".");
  if (!payload || signature === undefined) return null;
  try {
    const claims: unknown = JSON.parse(atob(payload.replace(/-/g, "+").replace(/_/g, "/")));
    const { exp } = claims as { exp?: unknown };
    return typeof exp === "number" ? exp * 1000 : null;
  } catch {
    return null;
  }
}
