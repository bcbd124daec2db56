// Compresses the files of a folder into another one and reports each file through the SQL functions.
//
//   node compress.js SOURCE TARGET
//
// The database is the one of the environment: DATABASE_URL, or PGHOST, PGDATABASE and so on.

import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, opendir, rename, rm, stat, utimes } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import pg from "pg";

/** The files below a folder as they are found, relative to it: how many there will be is not known. */
async function* filesBelow(folder, prefix = "") {
  for await (const entry of await opendir(path.join(folder, prefix))) {
    const name = path.join(prefix, entry.name);
    if (entry.isDirectory()) yield* filesBelow(folder, name);
    else yield name;
  }
}

/** Makes TARGET/name.gz from SOURCE/name unless it is as new, and says what that took. */
async function compress(source, target) {
  const original = await stat(source);
  const compressed = await stat(target).catch(() => null);
  if (compressed && compressed.mtimeMs >= original.mtimeMs) return "kept";
  await mkdir(path.dirname(target), { recursive: true });
  const partial = `${target}.partial`;
  try {
    await pipeline(createReadStream(source), createGzip(), createWriteStream(partial));
    await utimes(partial, original.atime, new Date(Math.ceil(original.mtimeMs)));
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  return compressed ? "updated" : "inserted";
}

async function run(client, source, target, stop) {
  const created = await client.query(
    "SELECT create_sync_operation('compress', owner => current_user, source => $1, triggered_by => 'compress.js') AS id",
    [source],
  );
  const id = created.rows[0].id;
  const counts = { processed: 0, inserted: 0, updated: 0, kept: 0, failed: 0 };
  const kinds = {};
  const end = (status, error) => client.query("SELECT complete_sync_operation($1, $2, error => $3)", [id, status, error]);
  try {
    for await (const name of filesBelow(source)) {
      if (stop.aborted) break;
      try {
        counts[await compress(path.join(source, name), path.join(target, `${name}.gz`))] += 1;
      } catch (error) {
        counts.failed += 1;
        await client.query("SELECT record_sync_error($1, $2, item => $3, code => $4)", [id, error.message, name, error.code]);
      }
      counts.processed += 1;
      const kind = path.extname(name) || "none";
      kinds[kind] = (kinds[kind] ?? 0) + 1;
      await client.query(
        `SELECT update_sync_progress($1, processed_items => $2, inserted_items => $3, updated_items => $4,
                                     kept_items => $5, failed_items => $6, current_item => $7, entities_encountered => $8)`,
        [id, counts.processed, counts.inserted, counts.updated, counts.kept, counts.failed, name, kinds],
      );
    }
    // Now it is known how many there were.
    await client.query("SELECT update_sync_progress($1, total_items => $2)", [id, stop.aborted ? null : counts.processed]);
    await end(stop.aborted ? "cancelled" : "completed", null);
  } catch (error) {
    await end("failed", error.message);
    throw error;
  }
  console.log(id, counts);
}

const [source, target] = process.argv.slice(2);
if (!target || !(await stat(source).catch(() => null))?.isDirectory()) {
  console.error("usage: node compress.js SOURCE TARGET, where SOURCE is a folder");
  process.exit(2);
}
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
const client = new pg.Client({ connectionString: process.env.DATABASE_URL, application_name: "compress.js" });
await client.connect();
try {
  await run(client, source, target, stop.signal);
} finally {
  await client.end();
}
