import { defineConfig } from "vite";

/** All elements as one classic script, `dist/bellwether.js`: such a one may come from another origin without CORS. */
export default defineConfig({
  publicDir: false,
  build: {
    target: "es2022",
    outDir: "dist",
    emptyOutDir: false,
    lib: { entry: "src/app/script.ts", name: "Bellwether", formats: ["iife"], fileName: () => "bellwether.js" },
  },
});
