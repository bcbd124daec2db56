import type { Environment } from "./environment.js";
import { filterQuery } from "./filter.js";
import { parseFrame, type Transport, type TransportEnd, type TransportListener } from "./transport.js";
import type { Filter } from "./types.js";
import { OPENING_TIMEOUT_MS } from "./websocket.js";

/** What an SSE stream is asked for: one subscription, fixed for its life. */
export interface StreamRequest {
  readonly filter: Filter;
  readonly cursor: string | null;
  readonly token: string | null;
}

/**
 * The relay over server-sent events, for networks that block WebSockets. By fetch rather than EventSource: that one
 * can send no token, hides why it was refused, and reconnects by rules of its own.
 */
export function openEventStream(
  environment: Environment,
  base: URL,
  request: StreamRequest,
  listener: TransportListener,
): Transport {
  const url = new URL(`events?${filterQuery(request.filter)}`, base);
  const headers: Record<string, string> = { Accept: "text/event-stream" };
  if (request.cursor) headers["Last-Event-ID"] = request.cursor;
  if (request.token) headers.Authorization = `Bearer ${request.token}`;
  const abort = new AbortController();
  let over = false;
  let retryAfterMs: number | undefined;
  const end = (ended: TransportEnd) => {
    if (over) return;
    over = true;
    clearTimeout(opening);
    abort.abort();
    listener.closed(retryAfterMs === undefined ? ended : { retryAfterMs, ...ended });
  };
  const lost = (reason: string) => end({ reason, refused: false });
  const opening = setTimeout(() => lost("the relay did not answer"), OPENING_TIMEOUT_MS);

  const run = async () => {
    const fetching = environment.fetch as typeof fetch;
    const response = await fetching(url.href, { headers, signal: abort.signal, cache: "no-store" });
    if (over) return;
    if (!response.ok || !response.body) return end(await endOfResponse(response));
    clearTimeout(opening);
    listener.opened();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const lines = new EventLines((data) => {
      const frame = parseFrame(data);
      if (!frame || over) return;
      if (frame.type === "closing") retryAfterMs = frame.retry_after_ms;
      listener.frame(frame);
    });
    for (;;) {
      const { value, done } = await reader.read();
      if (over) return;
      if (done) return lost("the stream ended");
      lines.push(value);
    }
  };
  run().catch(() => lost("the connection was lost"));
  return {
    kind: "sse",
    send: () => false,
    close() {
      over = true;
      clearTimeout(opening);
      abort.abort();
    },
  };
}

async function endOfResponse(response: Response): Promise<TransportEnd> {
  const problem: unknown = await response.json().catch(() => null);
  const { detail, title } = (problem ?? {}) as { detail?: unknown; title?: unknown };
  const reason = String(detail ?? title ?? `the relay answered ${response.status}`);
  const { status } = response;
  const seconds = Number(response.headers.get("Retry-After"));
  return {
    reason,
    refused: status >= 400 && status < 500 && ![401, 408, 425, 429].includes(status),
    unauthorized: status === 401,
    ...(seconds > 0 ? { retryAfterMs: seconds * 1000 } : {}),
  };
}

/** Reads the `data` of server-sent events out of text that arrives in pieces. */
export class EventLines {
  readonly #heard: (data: string) => void;
  #rest = "";
  #data: string[] = [];

  constructor(heard: (data: string) => void) {
    this.#heard = heard;
  }

  push(text: string): void {
    const held = this.#rest + text;
    // A "\r" at the end may be half of a "\r\n": it waits for what follows.
    const whole = held.endsWith("\r") ? held.slice(0, -1) : held;
    const lines = whole.split(/\r\n|\n|\r/);
    this.#rest = (lines.pop() ?? "") + held.slice(whole.length);
    for (const line of lines) this.#line(line);
  }

  #line(line: string): void {
    if (line === "") {
      if (this.#data.length > 0) this.#heard(this.#data.join("\n"));
      this.#data = [];
    } else if (line.startsWith("data:")) {
      this.#data.push(line.slice(line.charAt(5) === " " ? 6 : 5));
    }
  }
}
