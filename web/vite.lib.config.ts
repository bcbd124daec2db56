import { defineConfig } from "vite";

/** The npm package: modules that leave their libraries to the one who installs them. */
export default defineConfig({
  publicDir: false,
  build: {
    target: "es2022",
    outDir: "lib",
    emptyOutDir: true,
    minify: false,
    lib: {
      entry: { client: "src/client/index.ts", components: "src/components/index.ts", react: "src/react/index.ts" },
      formats: ["es"],
    },
    rollupOptions: { external: [/^lit/, /^react/, "uplot"] },
  },
});
