/** React hooks over the client's stores. */
import {
  createContext,
  createElement,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
} from "react";
import {
  type ClientOptions,
  type ConnectionState,
  type Filter,
  isActive,
  type Operation,
  type OperationError,
  SyncClient,
  type View,
  type ViewState,
} from "../client/index.js";

const Context = createContext<SyncClient | null>(null);

/** Gives a client to the hooks below it: one that the page has made, or one made of options. */
export function BellwetherProvider(props: { client?: SyncClient; options?: ClientOptions; children?: ReactNode }) {
  const { client: given, options } = props;
  // The options are read once: a token callback that is written inline must not make a new connection each time.
  const first = useRef(options);
  const client = useMemo(() => given ?? new SyncClient(first.current), [given]);
  useEffect(() => {
    if (given) return;
    client.start();
    return () => client.stop();
  }, [client, given]);
  return createElement(Context.Provider, { value: client }, props.children);
}

/** The client of the nearest provider. */
export function useSyncClient(): SyncClient {
  const client = useContext(Context);
  if (!client) throw new Error("useSyncClient: there is no BellwetherProvider above this component");
  return client;
}

/** How the connection is; renders again when that changes. */
export function useSyncStatus(): ConnectionState {
  const client = useSyncClient();
  return useSyncExternalStore(client.subscribe, client.getSnapshot, client.getSnapshot);
}

const NOTHING: ViewState = Object.freeze({
  ready: false,
  operations: new Map(),
  errors: new Map(),
  connections: new Map(),
  health: null,
  complete: true,
  refusal: null,
});

/** Everything that a filter asks for; renders again when something of it changes. */
export function useSyncView(filter: Filter): ViewState {
  const client = useSyncClient();
  const key = JSON.stringify(filter);
  const source = useMemo(() => {
    let view: View | null = null;
    return {
      // The view is opened here, in an effect, and not while rendering: a render may be thrown away.
      subscribe(listener: () => void) {
        const opened = client.view(JSON.parse(key) as Filter);
        view = opened;
        const stop = opened.subscribe(listener);
        listener();
        return () => {
          stop();
          opened.close();
        };
      },
      getSnapshot: (): ViewState => view?.getSnapshot() ?? NOTHING,
    };
  }, [client, key]);
  return useSyncExternalStore(source.subscribe, source.getSnapshot, () => NOTHING);
}

/** Progress of what is followed. */
export interface SyncProgress {
  /** Whether the relay has answered: until then nothing is known. */
  readonly ready: boolean;
  /** Newest first. */
  readonly operations: readonly Operation[];
  /** The newest of them. */
  readonly operation: Operation | null;
  /** How many of them go on. */
  readonly active: number;
  /** Errors of single items that were recorded while the component was there, newest last. */
  readonly errors: readonly OperationError[];
}

/** Progress of one operation, by its id, or of all that a filter asks for. */
export function useSyncProgress(followed: string | Omit<Filter, "topics">): SyncProgress {
  const filter: Filter = typeof followed === "string" ? { operation_id: [followed] } : followed;
  const state = useSyncView({ ...filter, topics: ["operations", "errors"] });
  return useMemo(() => {
    const operations = [...state.operations.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
    return {
      ready: state.ready,
      operations,
      operation: operations[0] ?? null,
      active: operations.filter((row) => isActive(row.status)).length,
      errors: [...state.errors.values()].sort((a, b) => a.id - b.id),
    };
  }, [state]);
}
