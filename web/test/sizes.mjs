/** Refuses a build that grew beyond what a page may cost: all JavaScript and CSS of it, gzipped. */
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const LIMIT_KIB = 150;
const kib = (path) => gzipSync(readFileSync(path), { level: 9 }).length / 1024;
const assets = readdirSync("dist/assets").filter((name) => /\.(js|css)$/.test(name));
const dashboard = assets.reduce((sum, name) => sum + kib(`dist/assets/${name}`), 0);
const script = kib("dist/bellwether.js");
process.stdout.write(`dashboard ${dashboard.toFixed(1)} KiB, bellwether.js ${script.toFixed(1)} KiB gzipped\n`);
if (dashboard + script > LIMIT_KIB) {
  process.stderr.write(`together more than ${LIMIT_KIB} KiB\n`);
  process.exit(1);
}
