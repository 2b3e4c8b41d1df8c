// A `firn serve` process over an empty directory, for the tests of this folder. FIRN_BINARY names the server to start.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Starts a server; it ends with the test `t`. Answers its port. */
export async function serve(t) {
  return (await start(t)).port;
}

/** Starts a server with more options and variables. Answers its port, and what ends it as a lost node ends, with its disk. */
export async function start(t, options = [], variables = {}) {
  assert.ok(process.env.FIRN_BINARY, "FIRN_BINARY names no server");
  const directory = await mkdtemp(join(tmpdir(), "firn-clients-node-"));
  const started = spawn(
    process.env.FIRN_BINARY,
    ["serve", "--data", join(directory, "data"), "--listen", "127.0.0.1:0", "--metrics", "off", "--log-json", ...options],
    { env: { ...process.env, ...variables }, stdio: ["ignore", "ignore", "pipe"] },
  );
  const lose = async () => {
    if (started.exitCode === null && started.signalCode === null) {
      started.kill("SIGKILL");
      await once(started, "exit");
    }
    await rm(directory, { recursive: true, force: true });
  };
  t.after(lose);
  for await (const line of createInterface({ input: started.stderr })) {
    const address = /"address":"127\.0\.0\.1:(\d+)"/.exec(line);
    if (address) {
      // What else the server says must not fill the pipe.
      started.stderr.resume();
      return { port: Number(address[1]), lose };
    }
  }
  assert.fail("the server ended before it served");
}
