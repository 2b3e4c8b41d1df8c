// Azure by Azurite, a server of blobs that is not ours: a database at home in it loses its disk, and is there again.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { start } from "./server.mjs";

// The account and the key that the emulator has for everybody.
const ACCOUNT = "devstoreaccount1";
const KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const VARIABLES = { AZURE_STORAGE_ACCOUNT_NAME: ACCOUNT, AZURE_STORAGE_ACCOUNT_KEY: KEY };

/** Starts Azurite, which ends with the test `t`. Answers the address of its account. */
async function azurite(t) {
  const folder = await mkdtemp(join(tmpdir(), "firn-azurite-"));
  const program = fileURLToPath(new URL("node_modules/.bin/azurite-blob", import.meta.url));
  // Without the first it tells its makers of each run.
  const flags = ["--disableTelemetry", "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", "0", "--location", folder];
  const started = spawn(process.execPath, [program, ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(async () => {
    started.kill("SIGKILL");
    await once(started, "exit");
    await rm(folder, { recursive: true });
  });
  for await (const line of createInterface({ input: started.stdout })) {
    const address = /listens on (http:\S+)/.exec(line);
    if (address) {
      started.stdout.resume();
      return `${address[1]}/${ACCOUNT}`;
    }
  }
  assert.fail("Azurite ended before it listened");
}

/** Rights to everything of the account for a minute, as what follows an address. */
function rights() {
  const [version, expiry] = ["2018-11-09", `${new Date(Date.now() + 60_000).toISOString().slice(0, 19)}Z`];
  const signed = [ACCOUNT, "rwdlac", "b", "sco", "", expiry, "", "https,http", version, ""].join("\n");
  const signature = createHmac("sha256", Buffer.from(KEY, "base64")).update(signed).digest("base64");
  return new URLSearchParams({ sv: version, ss: "b", srt: "sco", sp: "rwdlac", se: expiry, spr: "https,http", sig: signature });
}

/** What a command of `firn` prints. */
async function firn(...words) {
  const { stdout } = await promisify(execFile)(process.env.FIRN_BINARY, words, { env: { ...process.env, ...VARIABLES } });
  return stdout;
}

test("a database in Azure outlives its disk", { timeout: 120_000 }, async (t) => {
  const endpoint = await azurite(t);
  const created = await fetch(`${endpoint}/features?restype=container&${rights()}`, { method: "PUT" });
  assert.equal(created.status, 201, await created.text());
  const bucket = ["--bucket", "az://features/prod", "--bucket-endpoint", endpoint];
  const node = () => start(t, [...bucket, "--acknowledge", "object", "--hot-bytes-max", "0"], VARIABLES);
  const at = (port) => ["--server", `grpc://127.0.0.1:${port}`];
  const history = "SELECT * FROM history('weather') ORDER BY sequence, \"row\"";

  let { port, lose } = await node();
  const run = (statement) => firn("sql", "--format", "csv", ...at(port), "-c", statement);
  await run("CREATE TABLE weather (origin VARCHAR PRIMARY KEY, observed TIMESTAMP NOT NULL, temp DOUBLE)");
  await run("INSERT INTO weather VALUES ('EWR', '2024-05-01T00:00:00Z', 1.5), ('JFK', '2024-05-01T00:00:00Z', 2.5)");
  await firn("freeze", ...at(port));
  await run("INSERT INTO weather VALUES ('EWR', '2024-05-01T01:00:00Z', 3.5)");
  await firn("checkpoint", "create", "noon", ...at(port));
  const before = await run(history);
  assert.equal(before.trim().split("\n").length, 4, before);

  // The disk is lost, and what was frozen is read from the bucket.
  await lose();
  ({ port, lose } = await node());
  assert.equal(await run(history), before);
  assert.match(await firn("checkpoint", "list", ...at(port)), /noon/);
  await run("INSERT INTO weather VALUES ('LGA', '2024-05-01T02:00:00Z', 4.5)");
  await firn("freeze", ...at(port));

  // A file goes there and comes back.
  const file = "az://features/files/weather.parquet";
  await firn("export", "weather", "--history", "--to", file, "--bucket-endpoint", endpoint, ...at(port));
  await run("CREATE TABLE copied (origin VARCHAR PRIMARY KEY, observed TIMESTAMP NOT NULL, temp DOUBLE)");
  await firn("import", "copied", "--history", file, "--bucket-endpoint", endpoint, ...at(port));
  const rows = (table) => run(`SELECT origin, observed, temp FROM history('${table}') ORDER BY observed, origin`);
  assert.equal(await rows("copied"), await rows("weather"));

  // Once more, and by a second node that only follows.
  const last = await run(history);
  await lose();
  ({ port } = await start(t, [...bucket, "--read-only"], VARIABLES));
  assert.equal(await run(history), last);
});
