/** What every element here shares: a client, one for each relay on the page, and views that live as long as it does. */
import { LitElement, type PropertyValues, type ReactiveController } from "lit";
import { property } from "lit/decorators.js";
import { type ConnectionState, type Filter, SyncClient, type View, type ViewState } from "../client/index.js";

/** Where the script came from: the relay that serves it is the relay that is meant, unless the page says otherwise. */
const origin = (() => {
  const script = typeof document === "undefined" ? null : document.currentScript;
  return script instanceof HTMLScriptElement && script.src ? new URL(".", script.src).href : undefined;
})();

const clients = new Map<string, SyncClient>();

/** The page's client for a relay, connected. Elements with the same `url` share one connection. */
export function sharedClient(url?: string): SyncClient {
  const base = new URL(url ?? origin ?? "/", document.baseURI).href;
  let client = clients.get(base);
  if (!client) {
    client = new SyncClient({ url: base });
    clients.set(base, client);
    client.start();
  }
  return client;
}

/** Makes the elements without a `client` of their own use this one; to be called before they are on the page. */
export function useClient(client: SyncClient, url?: string): void {
  clients.set(new URL(url ?? origin ?? "/", document.baseURI).href, client);
  client.start();
}

/** What most elements follow: one subscription serves all of them. */
export const LIVE: Filter = { topics: ["operations", "health"] };

/** Registers an element, unless the page has it already: a script that is loaded twice does no harm. */
export function define(name: string, element: CustomElementConstructor): void {
  if (!customElements.get(name)) customElements.define(name, element);
}

/** An element that shows something of a relay. */
export abstract class RelayElement extends LitElement {
  /** Where the relay is; by default where the script, or else the page, came from. */
  @property() url: string | undefined;
  /** `light` or `dark`; by default as the page is. */
  @property({ reflect: true }) theme: string | undefined;
  /** A client of the page's own, for example one with a token. */
  @property({ attribute: false }) client: SyncClient | undefined;

  /** The client in use. */
  protected get relay(): SyncClient {
    return this.client ?? sharedClient(this.url);
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (this.hasUpdated && (changed.has("url") || changed.has("client"))) this.reconnect();
  }

  readonly #followed: Following[] = [];

  /** Follows a view; `filter` is asked again when the client changes, and null follows nothing. */
  protected follow(filter: () => Filter | null, opened?: (view: View) => (() => void) | undefined): Following {
    const following = new Following(this, () => this.relay, filter, opened);
    this.#followed.push(following);
    return following;
  }

  /** Follows the connection. */
  protected followConnection(): () => ConnectionState {
    const following = new Following(
      this,
      () => this.relay,
      () => null,
    );
    this.#followed.push(following);
    return () => this.relay.getSnapshot();
  }

  /** Opens all views anew. */
  protected reconnect(): void {
    for (const following of this.#followed) following.reopen();
  }
}

/** Keeps a view open while its element is on the page, and has the element drawn when the view changes. */
export class Following implements ReactiveController {
  readonly #host: LitElement;
  readonly #client: () => SyncClient;
  readonly #filter: () => Filter | null;
  readonly #opened: ((view: View) => (() => void) | undefined) | undefined;
  #view: View | null = null;
  #stops: (() => void)[] = [];

  constructor(
    host: LitElement,
    client: () => SyncClient,
    filter: () => Filter | null,
    opened?: (view: View) => (() => void) | undefined,
  ) {
    this.#host = host;
    this.#client = client;
    this.#filter = filter;
    this.#opened = opened;
    host.addController(this);
  }

  get view(): View | null {
    return this.#view;
  }

  get state(): ViewState | null {
    return this.#view?.getSnapshot() ?? null;
  }

  hostConnected(): void {
    const client = this.#client();
    const filter = this.#filter();
    const draw = () => this.#host.requestUpdate();
    if (filter) {
      this.#view = client.view(filter);
      this.#stops = [this.#view.subscribe(draw)];
      const stop = this.#opened?.(this.#view);
      if (stop) this.#stops.push(stop);
    } else {
      this.#stops = [client.subscribe(draw)];
    }
  }

  hostDisconnected(): void {
    for (const stop of this.#stops) stop();
    this.#stops = [];
    this.#view?.close();
    this.#view = null;
  }

  reopen(): void {
    if (!this.#host.isConnected) return;
    this.hostDisconnected();
    this.hostConnected();
    this.#host.requestUpdate();
  }
}
