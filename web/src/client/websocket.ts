import type { Environment } from "./environment.js";
import { endOfSocket, parseFrame, type Transport, type TransportListener } from "./transport.js";
import type { ClientMessage } from "./types.js";

/** How long an unanswered attempt is waited for, in ms: a proxy may swallow it without a word. */
export const OPENING_TIMEOUT_MS = 10_000;

/** The relay over a WebSocket. Starts without a subscription; the views send theirs. */
export function openWebSocket(environment: Environment, base: URL, listener: TransportListener): Transport {
  const url = new URL("ws?topics=none", base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  let over = false;
  let retryAfterMs: number | undefined;
  const end = (code: number, reason: string) => {
    if (over) return;
    over = true;
    clearTimeout(opening);
    listener.closed(endOfSocket(code, reason, retryAfterMs));
  };
  const opening = setTimeout(() => {
    end(1006, "the relay did not answer");
    socket.close();
  }, OPENING_TIMEOUT_MS);
  const socket = (environment.openSocket as NonNullable<Environment["openSocket"]>)(url.href);
  let isOpen = false;
  socket.onopen = () => {
    if (over) return;
    clearTimeout(opening);
    isOpen = true;
    listener.opened();
  };
  socket.onmessage = ({ data }) => {
    if (over || typeof data !== "string") return;
    const frame = parseFrame(data);
    if (!frame) return;
    if (frame.type === "closing") retryAfterMs = frame.retry_after_ms;
    listener.frame(frame);
  };
  socket.onclose = ({ code, reason }) => end(code, reason);
  return {
    kind: "websocket",
    send(message: ClientMessage) {
      if (!isOpen || over) return false;
      socket.send(JSON.stringify(message));
      return true;
    },
    close() {
      over = true;
      clearTimeout(opening);
      socket.close(1000);
    },
  };
}
