import { defineConfig } from "vite";

const relay = "http://127.0.0.1:8080";

export default defineConfig({
  // The library is a link into this repository, which has a React of its own to be tested with: one is enough.
  resolve: { dedupe: ["react", "react-dom"] },
  server: {
    proxy: {
      "/ws": { target: relay, ws: true },
      "/events": relay,
      "/api": relay,
    },
  },
});
