import { BellwetherProvider } from "bellwether-web/react";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app";

/** Where the relay is: the page's own origin, which Vite's proxy leads to the relay, unless the build names another. */
const url: string = import.meta.env.VITE_RELAY_URL ?? location.origin;

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <BellwetherProvider options={{ url }}>
      <App />
    </BellwetherProvider>
  </StrictMode>,
);
