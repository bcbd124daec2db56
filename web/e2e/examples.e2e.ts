/** The pages of `examples/`, built and served as their READMEs say, by other origins than the relay's. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./browser.js";
import { Stage } from "./relay.js";

const EXAMPLES = resolve("../examples");
const TYPES: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

let folder: string;
let server: Server;
let origin: string;
let stage: Stage;
let browser: Browser;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bellwether-examples-"));
  server = createServer(async (request, response) => {
    const path = new URL(request.url ?? "/", "http://here").pathname.replace(/\/$/, "/index.html");
    try {
      // The page names the relay of the README; the one of this test is elsewhere.
      const text = readFileSync(join(folder, path), "utf8").replaceAll("http://127.0.0.1:8080", stage.url);
      response.setHeader("Content-Type", TYPES[extname(path)] ?? "text/plain").end(text);
    } catch {
      response.writeHead(path === "/favicon.ico" ? 204 : 404).end();
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  stage = await Stage.open("--allow-origin", origin);
  browser = await launch();
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

test("a plain page with one script tag follows an operation to its end", async () => {
  cpSync(join(EXAMPLES, "web-script-tag"), join(folder, "plain"), { recursive: true });
  const { page, complaints } = await open(browser, `${origin}/plain/`);
  await page.locator("bellwether-status").getByText("Live").waitFor();
  stage.sql(`INSERT INTO sync_operations (id, operation_type, status, total_items)
             VALUES ('00000000-0000-4000-8000-000000000001', 'photo_import', 'in_progress', 10)`);
  const block = page.locator("bellwether-operation");
  await block.getByText("0 of 10").waitFor();
  await page.getByRole("button", { name: "1 active" }).waitFor();
  stage.sql("UPDATE sync_operations SET processed_items = 4, current_item = 'd.jpg'");
  await block.getByText("d.jpg").waitFor();
  stage.sql("SELECT complete_sync_operation('00000000-0000-4000-8000-000000000001')");
  await block.getByText("Completed").waitFor();
  await page.getByRole("log").getByText("Photo import completed").waitFor();
  expect(complaints.filter((text) => !text.includes("404"))).toEqual([]);
});

test("a React app follows the operations of one owner, through a relay that is killed", async () => {
  // Several npm commands first, hence the limit.
  const app = join(EXAMPLES, "web-react");
  const run = (cwd: string, ...command: string[]) =>
    execFileSync("npm", ["--loglevel=error", ...command], {
      cwd,
      stdio: "pipe",
      env: { ...process.env, VITE_RELAY_URL: stage.url },
    });
  run(".", "run", "build:package");
  run(app, "ci", "--ignore-scripts", "--no-audit", "--no-fund");
  run(app, "run", "build", "--", "--base=./", "--emptyOutDir", `--outDir=${join(folder, "react")}`);

  const { page, complaints } = await open(browser, `${origin}/react/`);
  await page.getByRole("status").getByText("Live").waitFor();
  const insert = (owner: string, type: string) =>
    stage.sql(
      `INSERT INTO sync_operations (operation_type, status, owner, total_items) VALUES ('${type}', 'in_progress', '${owner}', 10) RETURNING id`,
    );
  const id = insert("alice", "import");
  insert("bob", "backup");
  const row = page.getByRole("listitem").filter({ hasText: "import" });
  await row.getByText("0 items").waitFor();
  await page.getByText("1 active, 0 items failed").waitFor();
  expect(await page.getByText("backup").count()).toBe(0);
  expect(complaints.splice(0)).toEqual([]);

  await stage.killRelay();
  await page.getByRole("status").getByText("reconnecting").waitFor();
  stage.sql(`UPDATE sync_operations SET processed_items = 7 WHERE id = '${id}'`);
  stage.sql(`SELECT record_sync_error('${id}', 'no such file', item => 'a.txt')`);
  await stage.startRelay("--allow-origin", origin);
  await row.getByText("7 items").waitFor();
  await page.getByText("1 active, 1 items failed").waitFor();

  await page.getByLabel("Owner").fill("bob");
  await page.getByRole("listitem").filter({ hasText: "backup" }).waitFor();
  await row.waitFor({ state: "detached" });
}, 300_000);
