// Flight SQL from Node: a client from npm that knows nothing of FirnDB, and what it lacks by gRPC and Apache Arrow.

import assert from "node:assert/strict";
import test from "node:test";
import { FlightSQLClient } from "@firetiger-oss/flight-sql-client";
import flight from "@firetiger-oss/flight-sql-client/dist/generated/proto/Flight_pb.js";
import sql from "@firetiger-oss/flight-sql-client/dist/generated/proto/FlightSql_pb.js";
import any from "google-protobuf/google/protobuf/any_pb.js";
import {
  Float64,
  Int64,
  MessageReader,
  Table,
  TimestampMicrosecond,
  Type,
  tableFromIPC,
  tableToIPC,
  vectorFromArray,
} from "apache-arrow";
import { serve } from "./server.mjs";

/** A client of a server of its own. */
async function connect(t, headers = {}, port = undefined) {
  const client = new FlightSQLClient({ host: "127.0.0.1", port: port ?? (await serve(t)), plaintext: true });
  for (const [name, value] of Object.entries(headers)) {
    client.metadata.set(name, value);
  }
  t.after(() => client.close());
  return client;
}

/** A message of Flight SQL, packed as the protocol asks. */
function packed(name, fields) {
  const message = new sql[name]();
  for (const [field, value] of Object.entries(fields)) {
    message[`set${field}`](value);
  }
  const wrapped = new any.Any();
  wrapped.setTypeUrl(`type.googleapis.com/arrow.flight.protocol.sql.${name}`);
  wrapped.setValue(message.serializeBinary());
  return wrapped.serializeBinary();
}

function command(bytes) {
  const descriptor = new flight.FlightDescriptor();
  descriptor.setType(flight.FlightDescriptor.DescriptorType.CMD);
  descriptor.setCmd(bytes);
  return descriptor;
}

/** Runs a statement that answers no rows; how many rows it changed. */
async function update(client, statement) {
  const info = await client.getFlightInfo(command(packed("CommandStatementQuery", { Query: statement })));
  assert.equal(info.getEndpointList().length, 0);
  return info.getTotalRecords();
}

/** The messages of a table: each has a header, and a body that may be empty. */
function* messages(table) {
  const stream = tableToIPC(table, "stream");
  const view = new DataView(stream.buffer, stream.byteOffset);
  const reader = new MessageReader(stream);
  let offset = 0;
  for (const message of reader) {
    const end = offset + 8 + view.getInt32(offset + 4, true);
    yield [stream.slice(offset + 8, end), reader.readMessageBody(message.bodyLength).slice()];
    offset = end + message.bodyLength;
  }
}

/** Sends a table; the metadata of the first answer. */
async function put(client, bytes, table) {
  await client.connect();
  const call = client.client.doPut(client.metadata);
  const answered = new Promise((resolve, reject) => {
    call.on("data", (result) => resolve(result.getAppMetadata_asU8()));
    call.on("error", reject);
    call.on("end", () => reject(new Error("nothing was answered")));
  });
  let descriptor = command(bytes);
  for (const [header, body] of messages(table)) {
    const data = new flight.FlightData();
    data.setFlightDescriptor(descriptor);
    descriptor = undefined;
    data.setDataHeader(header);
    data.setDataBody(body);
    call.write(data);
  }
  call.end();
  return answered;
}

function rows(table) {
  return table.toArray().map((row) => Object.values(row.toJSON()));
}

async function weather(client) {
  await update(client, "CREATE TABLE weather (origin VARCHAR PRIMARY KEY, observed TIMESTAMP NOT NULL, temp DOUBLE)");
  const inserted = await update(
    client,
    "INSERT INTO weather VALUES ('EWR', '2013-01-01T10:00:00Z', 39), ('JFK', '2013-01-01T10:00:00Z', NULL)",
  );
  assert.equal(inserted, 2);
  assert.equal(await update(client, "INSERT INTO weather VALUES ('EWR', '2013-01-01T11:00:00Z', 41.5)"), 1);
}

test("what is written is read", async (t) => {
  const client = await connect(t);
  await weather(client);
  const answer = await client.execute("SELECT origin, temp FROM weather ORDER BY origin");
  assert.deepEqual(rows(answer), [["EWR", 41.5], ["JFK", null]]);
  const nothing = await client.execute("SELECT origin FROM weather WHERE origin = 'LGA'");
  assert.equal(nothing.numRows, 0);
  assert.deepEqual(nothing.schema.fields.map((field) => field.name), ["origin"]);
});

test("every type is read", async (t) => {
  const client = await connect(t);
  const answer = await client.execute(
    `SELECT TRUE AS a, CAST(-8 AS TINYINT) AS b, CAST(60000 AS SMALLINT UNSIGNED) AS c, CAST(1.5 AS REAL) AS d,
       CAST(2.25 AS DOUBLE) AS e, CAST(9000000000000000000 AS BIGINT) AS f, 'é😀' AS g, X'00ff' AS h,
       CAST(123.125 AS DECIMAL(12, 3)) AS i, CAST('2013-01-01' AS DATE) AS j,
       CAST('2013-01-01T10:30:00.123Z' AS TIMESTAMP WITH TIME ZONE) AS k, [1, 2] AS l, {m: 1} AS m, MAP {'k': 6} AS n,
       CAST('10:30:00' AS TIME) AS o, NULL AS p`,
  );
  const { h, i, j, k, l, m, n, ...plain } = answer.get(0).toJSON();
  assert.deepEqual(plain, {
    a: true, b: -8, c: 60000, d: 1.5, e: 2.25, f: 9000000000000000000n, g: "é😀", o: 37_800_000_000n, p: null,
  });
  assert.deepEqual([...h], [0, 255]);
  assert.equal(i.toString(), "123125");
  assert.equal(new Date(j).toISOString(), "2013-01-01T00:00:00.000Z");
  assert.equal(new Date(k).toISOString(), "2013-01-01T10:30:00.123Z");
  assert.deepEqual([[...l], m.toJSON(), n.toJSON()], [[1n, 2n], { m: 1n }, { k: 6n }]);
});

test("headers stand in the past", async (t) => {
  const port = await serve(t);
  await weather(await connect(t, {}, port));
  const past = await connect(t, { "firn.as_of": "2013-01-01T10:30:00Z" }, port);
  assert.deepEqual(rows(await past.execute("SELECT temp FROM weather WHERE origin = 'EWR'")), [[39]]);
  await assert.rejects(update(past, "DELETE FROM weather WHERE origin = 'EWR'"), /stands in the past/);
});

test("what is wrong is said, with its code", async (t) => {
  const client = await connect(t);
  for (const [statement, code, said] of [
    ["SELEC 1", "3", /cannot be read/],
    ["SELECT * FROM wether", "5", /wether/],
    ["UPDATE weather SET temp = 1", "12", /INSERT/],
  ]) {
    await assert.rejects(client.execute(statement), (error) => error.code === code && said.test(error.message), statement);
  }
});

test("tables are found", async (t) => {
  const client = await connect(t);
  await weather(client);
  const expected = [{ catalog: "firn", schema: "public", tableName: "weather", tableType: "TABLE" }];
  assert.deepEqual(await client.getTables(undefined, undefined, "w%"), expected);
  assert.deepEqual(await client.getTables("firn", "public", "weather", ["TABLE"]), expected);
  assert.deepEqual(await client.getTables(undefined, undefined, "x%"), []);
});

test("an answer of many batches arrives", async (t) => {
  const client = await connect(t);
  const numbers = `(VALUES ${Array.from({ length: 500 }, (_, number) => `(${number})`).join(", ")})`;
  const answer = await client.execute(`SELECT a.column1 * 500 + b.column1 AS n FROM ${numbers} a, ${numbers} b ORDER BY n`);
  assert.equal(answer.numRows, 250_000);
  assert.deepEqual([answer.get(0).n, answer.get(249_999).n], [0n, 249_999n]);
});

test("rows that JavaScript made are ingested", async (t) => {
  const client = await connect(t, { "firn.ingest_key": "origin", "firn.ingest_event_time": "observed" });
  // Apache Arrow makes a dictionary of a column of strings.
  const table = new Table({
    origin: vectorFromArray(["EWR", "JFK", "EWR"]),
    observed: vectorFromArray([1, 2, 3], new TimestampMicrosecond()),
    temp: vectorFromArray([1.5, null, 2.5], new Float64()),
  });
  assert.equal(table.schema.fields[0].type.typeId, Type.Dictionary);
  const options = new sql.CommandStatementIngest.TableDefinitionOptions();
  options.setIfNotExist(sql.CommandStatementIngest.TableDefinitionOptions.TableNotExistOption.TABLE_NOT_EXIST_OPTION_CREATE);
  options.setIfExists(sql.CommandStatementIngest.TableDefinitionOptions.TableExistsOption.TABLE_EXISTS_OPTION_FAIL);
  const ingest = packed("CommandStatementIngest", { Table: "made", TableDefinitionOptions: options });
  const answered = sql.DoPutUpdateResult.deserializeBinary(await put(client, ingest, table));
  assert.equal(answered.getRecordCount(), 3);
  assert.deepEqual(rows(await client.execute("SELECT origin, temp FROM made ORDER BY origin")), [["EWR", 2.5], ["JFK", null]]);
});

test("values are bound", async (t) => {
  const client = await connect(t);
  await weather(client);
  const action = new flight.Action();
  action.setType("CreatePreparedStatement");
  action.setBody(
    packed("ActionCreatePreparedStatementRequest", {
      Query: "SELECT origin, temp FROM weather FOR VALID_TIME AS OF $1 WHERE temp > $2 LIMIT $3",
    }),
  );
  const [created] = await client.doAction(action);
  const result = sql.ActionCreatePreparedStatementResult.deserializeBinary(
    any.Any.deserializeBinary(created.getBody_asU8()).getValue_asU8(),
  );
  const told = tableFromIPC(result.getParameterSchema_asU8()).schema.fields.map((field) => field.type.toString());
  assert.deepEqual(told, ["Timestamp<MICROSECOND, UTC>", "Float64", "Int64"]);
  const values = new Table({
    $1: vectorFromArray([Date.UTC(2013, 0, 1, 10, 30)], new TimestampMicrosecond("UTC")),
    $2: vectorFromArray([0], new Float64()),
    $3: vectorFromArray([10n], new Int64()),
  });
  const bind = packed("CommandPreparedStatementQuery", { PreparedStatementHandle: result.getPreparedStatementHandle_asU8() });
  const bound = sql.DoPutPreparedStatementResult.deserializeBinary(await put(client, bind, values));
  const run = packed("CommandPreparedStatementQuery", { PreparedStatementHandle: bound.getPreparedStatementHandle_asU8() });
  const answer = await client.doGet(await client.getQueryTicket(command(run)));
  assert.deepEqual(rows(answer), [["EWR", 39]]);
});
