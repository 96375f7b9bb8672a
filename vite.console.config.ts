import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { precompress } from "./scripts/precompress.ts";
import { withoutOptionDescriptors } from "./scripts/without-option-descriptors.ts";

export default defineConfig({
  root: "src/console",
  base: "/",
  // The service puts a new one in its place for each answer.
  html: { cspNonce: "CSP_NONCE" },
  plugins: [react(), withoutOptionDescriptors(), precompress()],
  build: {
    outDir: "../../dist/console",
    emptyOutDir: true,
    target: "es2023",
    // Inlined files would need `data:` in the content security policy.
    assetsInlineLimit: 0,
    // The map's outlines and the charts are large, and only loaded by the pages that show them.
    chunkSizeWarningLimit: 800,
  },
  server: {
    // `npm run dev:console` beside a running service.
    proxy: Object.fromEntries(
      // The origin stays as the browser sent it, or the service would take sign-ins for those of another site.
      ["/ota.v1", "/session", "/api", "/health", "/docs", "/openapi.json"].map((path) => [
        path,
        { target: "http://127.0.0.1:8080", changeOrigin: false },
      ]),
    ),
  },
});
