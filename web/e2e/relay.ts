/** A real PostgreSQL and a real relay for a test file, both of which it may kill. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const BINARY = resolve(process.env.BELLWETHER_BIN ?? "../target/debug/bellwether");
/** Short, so that "two intervals without a heartbeat" comes soon. */
const HEARTBEAT = ["--heartbeat", "1s"];
/** For tests that have nothing to do with outages: a busy machine is none. */
export const PATIENT = ["--heartbeat", "10s", "--patience", "10s"];
const PATIENCE_MS = 60_000;

/** The newest PostgreSQL of this machine. */
function serverPrograms(): string {
  const given = process.env.BELLWETHER_PG_BINDIR;
  if (given) return given;
  const root = "/usr/lib/postgresql";
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  for (const version of versions) {
    if (existsSync(join(root, version, "bin/postgres"))) return join(root, version, "bin");
  }
  const config = spawnSync("pg_config", ["--bindir"], { encoding: "utf8" });
  if (config.status === 0 && existsSync(join(config.stdout.trim(), "postgres"))) return config.stdout.trim();
  throw new Error(
    "there is no PostgreSQL server on this machine: install one, or name its folder in BELLWETHER_PG_BINDIR",
  );
}

/** PostgreSQL refuses to run as root. */
function unprivileged(command: readonly string[]): [string, string[]] {
  const asOther = process.getuid?.() === 0 ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : [];
  const [program, ...rest] = [...asOther, ...command] as [string, ...string[]];
  return [program, rest];
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

/** Asks again until the answer is yes. */
export async function until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (Date.now() < end) {
    if (await isSo()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`waited in vain: ${what}`);
}

export class Stage {
  readonly url: string;
  readonly #folder: string;
  readonly #programs: string;
  readonly #databasePort: number;
  #database: ChildProcess | null = null;
  #relay: ChildProcess | null = null;
  #said = "";

  private constructor(folder: string, programs: string, databasePort: number, port: number) {
    this.#folder = folder;
    this.#programs = programs;
    this.#databasePort = databasePort;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async open(...options: string[]): Promise<Stage> {
    const folder = mkdtempSync(join(tmpdir(), "bellwether-e2e-"));
    if (process.getuid?.() === 0) execFileSync("chown", ["postgres", folder]);
    const stage = new Stage(folder, serverPrograms(), await freePort(), await freePort());
    const init = [
      "initdb",
      "-D",
      join(folder, "data"),
      "-U",
      "postgres",
      "-A",
      "trust",
      "--no-sync",
      "-E",
      "UTF8",
      "--locale=C",
    ];
    execFileSync(...unprivileged([join(stage.#programs, init[0] as string), ...init.slice(1)]), { stdio: "ignore" });
    await stage.startDatabase();
    await stage.startRelay(...options);
    return stage;
  }

  async startDatabase(): Promise<void> {
    const settings = [
      "-c",
      "fsync=on",
      "-c",
      "listen_addresses=127.0.0.1",
      "-k",
      this.#folder,
      "-p",
      String(this.#databasePort),
    ];
    const [program, rest] = unprivileged([
      join(this.#programs, "postgres"),
      "-D",
      join(this.#folder, "data"),
      ...settings,
    ]);
    this.#database = spawn(program, rest, { stdio: "ignore" });
    await until("the database starts", () => this.#psql("SELECT 1").status === 0);
  }

  /** As when the machine loses power. */
  async killDatabase(): Promise<void> {
    await kill(this.#database, "SIGKILL");
  }

  async startRelay(...options: string[]): Promise<void> {
    const database = `host=127.0.0.1 port=${this.#databasePort} user=postgres dbname=postgres`;
    const given = [
      "serve",
      "--database-url",
      database,
      "--listen",
      new URL(this.url).host,
      ...(options.includes("--heartbeat") ? [] : HEARTBEAT),
      ...options,
    ];
    this.#relay = spawn(BINARY, given, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#relay.stdout, this.#relay.stderr]) {
      stream?.on("data", (data) => {
        this.#said = (this.#said + data).slice(-20_000);
      });
    }
    await until("the relay is ready", async () => {
      if (this.#relay?.exitCode !== null) throw new Error(`the relay ended:\n${this.#said}`);
      return fetch(`${this.url}/readyz`).then(
        (response) => response.ok,
        () => false,
      );
    });
  }

  async killRelay(): Promise<void> {
    await kill(this.#relay, "SIGKILL");
  }

  /** Runs SQL as psql does; returns what it printed. */
  sql(text: string): string {
    const { status, stdout, stderr } = this.#psql(text);
    if (status !== 0) throw new Error(stderr);
    return stdout.trim();
  }

  /** Runs SQL in the background, one statement a line, until it is told to stop. */
  stream(): { write(line: string): void; end(): Promise<void> } {
    const child = spawn("psql", this.#psqlArguments(), { stdio: ["pipe", "ignore", "ignore"] });
    return {
      write: (line) => void child.stdin.write(`${line}\n`),
      end: () =>
        new Promise((done) => {
          child.on("exit", () => done());
          child.stdin.end();
        }),
    };
  }

  async close(): Promise<void> {
    await kill(this.#relay, "SIGTERM");
    await kill(this.#database, "SIGINT");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #psqlArguments(): string[] {
    return [
      "-X",
      "-q",
      "-A",
      "-t",
      "-v",
      "ON_ERROR_STOP=1",
      "-h",
      "127.0.0.1",
      "-p",
      String(this.#databasePort),
      "-U",
      "postgres",
      "-d",
      "postgres",
    ];
  }

  #psql(text: string) {
    return spawnSync("psql", [...this.#psqlArguments(), "-c", text], { encoding: "utf8" });
  }
}

/** `setpriv` becomes the program that it starts, so the signal reaches it. */
async function kill(child: ChildProcess | null, signal: NodeJS.Signals): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once("exit", done));
  child.kill(signal);
  await ended;
}
