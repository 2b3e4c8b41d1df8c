// Flight SQL from Go: statements, parameters, ingest, the catalog, sessions and errors, by arrow-go's client alone.
package clients

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// connect opens a Flight SQL client of a server.
func connect(t *testing.T, address string, middleware ...flight.ClientMiddleware) *flightsql.Client {
	t.Helper()
	client, err := flightsql.NewClient(address, nil, middleware, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// weather declares a table and writes what two stations saw.
func weather(t *testing.T, client *flightsql.Client) {
	t.Helper()
	update(t, client, `CREATE TABLE weather (origin VARCHAR PRIMARY KEY, observed TIMESTAMP NOT NULL, temp DOUBLE)`, 0)
	update(t, client, `CALL seal_table('weather')`, 0)
	update(t, client, `INSERT INTO weather VALUES ('EWR', '2013-01-01T10:00:00Z', 39), ('JFK', '2013-01-01T10:00:00Z', NULL)`, 2)
	update(t, client, `INSERT INTO weather VALUES ('EWR', '2013-01-01T11:00:00Z', 41.5)`, 1)
}

// update runs a statement that answers no rows; it must change so many.
func update(t *testing.T, client *flightsql.Client, statement string, expected int64) {
	t.Helper()
	changed, err := client.ExecuteUpdate(deadline(t), statement)
	check(t, err)
	if changed != expected {
		t.Fatalf("%s changed %d rows, not %d", statement, changed, expected)
	}
}

// fetch reads what a FlightInfo leads to: each row as text, `|` between its columns.
func fetch(t *testing.T, ctx context.Context, client *flightsql.Client, info *flight.FlightInfo) ([]string, error) {
	t.Helper()
	rows := []string{}
	for _, endpoint := range info.Endpoint {
		reader, err := client.DoGet(ctx, endpoint.Ticket)
		if err != nil {
			return nil, err
		}
		defer reader.Release()
		told, err := flight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
		check(t, err)
		if !told.Equal(reader.Schema()) {
			t.Fatalf("GetFlightInfo told %v, and the rows are %v", told, reader.Schema())
		}
		for reader.Next() {
			batch := reader.RecordBatch()
			for row := range int(batch.NumRows()) {
				var values []string
				for _, column := range batch.Columns() {
					values = append(values, column.ValueStr(row))
				}
				rows = append(rows, strings.Join(values, "|"))
			}
		}
		if err := reader.Err(); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	return rows, nil
}

// answer runs a query under a context.
func answer(t *testing.T, ctx context.Context, client *flightsql.Client, statement string) ([]string, error) {
	t.Helper()
	info, err := client.Execute(ctx, statement)
	if err != nil {
		return nil, err
	}
	return fetch(t, ctx, client, info)
}

// expect fails unless a query answers these rows.
func expect(t *testing.T, ctx context.Context, client *flightsql.Client, statement string, expected ...string) {
	t.Helper()
	found, err := answer(t, ctx, client, statement)
	check(t, err)
	if !slices.Equal(found, expected) {
		t.Fatalf("%s answered %q, not %q", statement, found, expected)
	}
}

// refuse fails unless an error has this code and says this.
func refuse(t *testing.T, err error, code codes.Code, part string) {
	t.Helper()
	if status.Code(err) != code || !strings.Contains(err.Error(), part) {
		t.Fatalf("the error is %v, not %v with %q", err, code, part)
	}
}

const readsEWR = `SELECT temp FROM weather WHERE origin = 'EWR'`

func TestStatementsAreRun(t *testing.T) {
	client := connect(t, serve(t))
	weather(t, client)
	expect(t, deadline(t), client, `SELECT origin, temp FROM weather ORDER BY origin`, "EWR|41.5", "JFK|(null)")
	expect(t, deadline(t), client, `SELECT origin FROM weather WHERE origin = 'LGA'`)

	schema, err := client.GetExecuteSchema(deadline(t), `SELECT * FROM weather`)
	check(t, err)
	told, err := flight.DeserializeSchema(schema.Schema, memory.DefaultAllocator)
	check(t, err)
	expected := arrow.NewSchema([]arrow.Field{
		{Name: "origin", Type: arrow.BinaryTypes.String},
		{Name: "observed", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}},
		{Name: "temp", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	}, nil)
	if names := told.Fields(); len(names) != 3 {
		t.Fatalf("the columns are %v", told)
	}
	for number, field := range expected.Fields() {
		found := told.Field(number)
		if found.Name != field.Name || !arrow.TypeEqual(found.Type, field.Type) || found.Nullable != field.Nullable {
			t.Fatalf("the column %d is %v, not %v", number, found, field)
		}
	}
}

func TestValuesAreBound(t *testing.T) {
	client := connect(t, serve(t))
	weather(t, client)
	ctx := deadline(t)
	prepared, err := client.Prepare(ctx, `SELECT temp FROM weather FOR VALID_TIME AS OF ? WHERE origin = ?`)
	check(t, err)
	defer prepared.Close(ctx)
	if changes, told := prepared.IsUpdate(); !told || changes {
		t.Fatal("a query is told to be an update, or not told at all")
	}
	if fields := prepared.ParameterSchema().NumFields(); fields != 2 {
		t.Fatalf("there are %d parameters", fields)
	}
	builder := array.NewRecordBuilder(memory.DefaultAllocator, prepared.ParameterSchema())
	moments := builder.Field(0).(*array.TimestampBuilder)
	for _, hour := range []int{10, 12} {
		moments.AppendTime(time.Date(2013, 1, 1, hour, 30, 0, 0, time.UTC))
		builder.Field(1).(*array.StringBuilder).Append("EWR")
	}
	prepared.SetParameters(builder.NewRecordBatch())
	info, err := prepared.Execute(ctx)
	check(t, err)
	found, err := fetch(t, ctx, client, info)
	check(t, err)
	if !slices.Equal(found, []string{"39", "41.5"}) {
		t.Fatalf("the rows that were bound answered %q", found)
	}

	insert, err := client.Prepare(ctx, `INSERT INTO weather VALUES (?, ?, ?)`)
	check(t, err)
	defer insert.Close(ctx)
	if changes, told := insert.IsUpdate(); !told || !changes {
		t.Fatal("an insert is not told to be an update")
	}
	if insert.DatasetSchema() != nil && insert.DatasetSchema().NumFields() != 0 {
		t.Fatalf("an insert answers %v", insert.DatasetSchema())
	}
	rows := array.NewRecordBuilder(memory.DefaultAllocator, insert.ParameterSchema())
	rows.Field(0).(*array.StringBuilder).AppendValues([]string{"LGA", "BOS"}, nil)
	for range 2 {
		rows.Field(1).(*array.TimestampBuilder).AppendTime(time.Date(2013, 1, 1, 9, 0, 0, 0, time.UTC))
	}
	rows.Field(2).(*array.Float64Builder).AppendValues([]float64{1, 2}, nil)
	insert.SetParameters(rows.NewRecordBatch())
	changed, err := insert.ExecuteUpdate(ctx)
	check(t, err)
	if changed != 2 {
		t.Fatalf("%d rows were inserted", changed)
	}
	expect(t, ctx, client, `SELECT origin, temp FROM weather WHERE observed = '2013-01-01T09:00:00Z' ORDER BY temp`, "LGA|1", "BOS|2")
}

func TestHeadersStandInThePast(t *testing.T) {
	client := connect(t, serve(t))
	weather(t, client)
	past := metadata.AppendToOutgoingContext(deadline(t), "firn.as_of", "2013-01-01T10:30:00Z")
	expect(t, past, client, readsEWR, "39")
	expect(t, deadline(t), client, readsEWR, "41.5")
	_, err := client.ExecuteUpdate(past, `INSERT INTO weather VALUES ('EWR', '2013-01-01T09:00:00Z', 1)`)
	refuse(t, err, codes.FailedPrecondition, "stands in the past")
	_, err = client.Execute(metadata.AppendToOutgoingContext(deadline(t), "firn.as_of", "yesterday"), readsEWR)
	refuse(t, err, codes.InvalidArgument, "firn.as_of")
}

func TestRowsAreIngested(t *testing.T) {
	client := connect(t, serve(t))
	fields := []arrow.Field{
		{Name: "k", Type: arrow.PrimitiveTypes.Int64, Metadata: arrow.NewMetadata([]string{"firn.role"}, []string{"key"})},
		{Name: "at", Type: arrow.FixedWidthTypes.Timestamp_us, Metadata: arrow.NewMetadata([]string{"firn.role"}, []string{"event_time"})},
		{Name: "x", Type: arrow.BinaryTypes.String, Nullable: true},
	}
	schema := arrow.NewSchema(fields, nil)
	ingest := func(notThere flightsql.TableDefinitionOptionsTableNotExistOption, there flightsql.TableDefinitionOptionsTableExistsOption) (int64, error) {
		builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for key := range 1000 {
			builder.Field(0).(*array.Int64Builder).Append(int64(key))
			builder.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(key))
			builder.Field(2).(*array.StringBuilder).AppendNull()
		}
		batch := builder.NewRecordBatch()
		reader, err := array.NewRecordReader(schema, []arrow.RecordBatch{batch, batch})
		check(t, err)
		return client.ExecuteIngest(deadline(t), reader, &flightsql.ExecuteIngestOpts{
			Table:                  "ingested",
			TableDefinitionOptions: &flightsql.TableDefinitionOptions{IfNotExist: notThere, IfExists: there},
		})
	}
	create, fail := flightsql.TableDefinitionOptionsTableNotExistOptionCreate, flightsql.TableDefinitionOptionsTableNotExistOptionFail
	append, exists := flightsql.TableDefinitionOptionsTableExistsOptionAppend, flightsql.TableDefinitionOptionsTableExistsOptionFail
	_, err := ingest(fail, append)
	refuse(t, err, codes.NotFound, "ingested")
	written, err := ingest(create, exists)
	check(t, err)
	if written != 2000 {
		t.Fatalf("%d rows were ingested", written)
	}
	_, err = ingest(create, exists)
	refuse(t, err, codes.AlreadyExists, "ingested")
	_, err = ingest(fail, append)
	check(t, err)
	expect(t, deadline(t), client, `SELECT count(*), count(x) FROM ingested`, "1000|0")
}

func TestTheCatalogIsTold(t *testing.T) {
	client := connect(t, serve(t))
	weather(t, client)
	ctx := deadline(t)
	told := func(info *flight.FlightInfo, err error) []string {
		t.Helper()
		check(t, err)
		rows, err := fetch(t, ctx, client, info)
		check(t, err)
		return rows
	}
	pattern, schemas := "weat%", "pub%"
	for what, found := range map[string][2][]string{
		"catalogs":     {told(client.GetCatalogs(ctx)), {"firn"}},
		"schemas":      {told(client.GetDBSchemas(ctx, &flightsql.GetDBSchemasOpts{DbSchemaFilterPattern: &schemas})), {"firn|public"}},
		"table types":  {told(client.GetTableTypes(ctx)), {"SYSTEM TABLE", "TABLE"}},
		"tables":       {told(client.GetTables(ctx, &flightsql.GetTablesOpts{TableNameFilterPattern: &pattern})), {"firn|public|weather|TABLE"}},
		"primary keys": {told(client.GetPrimaryKeys(ctx, flightsql.TableRef{Table: "weather"})), {"firn|public|weather|origin|weather|1"}},
		"foreign keys": {told(client.GetImportedKeys(ctx, flightsql.TableRef{Table: "weather"})), {}},
	} {
		if !slices.Equal(found[0], found[1]) {
			t.Errorf("the %s are %q, not %q", what, found[0], found[1])
		}
	}
	if types := told(client.GetXdbcTypeInfo(ctx, nil)); len(types) < 10 {
		t.Errorf("the types are %q", types)
	}
	infos, err := client.GetSqlInfo(ctx, []flightsql.SqlInfo{flightsql.SqlInfoFlightSqlServerName, flightsql.SqlInfoFlightSqlServerCancel})
	check(t, err)
	if said := strings.Join(told(infos, nil), " "); !strings.Contains(said, "FirnDB") || !strings.Contains(said, "true") {
		t.Errorf("the server is %s", said)
	}
	described, err := client.GetTables(ctx, &flightsql.GetTablesOpts{IncludeSchema: true, TableTypes: []string{"TABLE"}})
	check(t, err)
	reader, err := client.DoGet(ctx, described.Endpoint[0].Ticket)
	check(t, err)
	defer reader.Release()
	if !reader.Next() {
		t.Fatal("no table is described")
	}
	bytes := reader.RecordBatch().Column(4).(*array.Binary).Value(0)
	columns, err := flight.DeserializeSchema(bytes, memory.DefaultAllocator)
	check(t, err)
	if name, _ := columns.Field(2).Metadata.GetValue("ARROW:FLIGHT:SQL:TYPE_NAME"); name != "DOUBLE" {
		t.Errorf("the type of the column temp is told as %q in %v", name, columns.Field(2).Metadata)
	}
}

func TestASessionStandsInThePast(t *testing.T) {
	address := serve(t)
	weather(t, connect(t, address))
	client := connect(t, address, flight.NewClientCookieMiddleware())
	ctx := deadline(t)
	update(t, connect(t, address), `INSERT INTO weather VALUES ('EWR', '2013-01-01T11:00:00Z', 41.5)`, 1)
	// The first answer of a connection brings the cookie that makes it a session; this client reads no headers of a DoPut.
	expect(t, ctx, client, readsEWR, "41.5")
	set := func(options map[string]any) map[string]*flight.SetSessionOptionsResultError {
		t.Helper()
		values, err := flight.NewSessionOptionValues(options)
		check(t, err)
		result, err := client.SetSessionOptions(ctx, &flight.SetSessionOptionsRequest{SessionOptions: values})
		check(t, err)
		return result.Errors
	}
	if wrong := set(map[string]any{"catalog": "firn", "schema": "public", "firn.as_of": "2013-01-01T10:30:00Z"}); len(wrong) != 0 {
		t.Fatalf("the options are refused: %v", wrong)
	}
	expect(t, ctx, client, readsEWR, "39")
	expect(t, ctx, connect(t, address), readsEWR, "41.5")
	options, err := client.GetSessionOptions(ctx, &flight.GetSessionOptionsRequest{})
	check(t, err)
	values := map[string]string{}
	for name, value := range options.SessionOptions {
		values[name] = value.GetStringValue()
	}
	if !strings.HasPrefix(values["firn.as_of"], "2013-01-01T10:30:00") || values["catalog"] != "firn" || values["schema"] != "public" {
		t.Fatalf("the session is %v", values)
	}
	if wrong := set(map[string]any{"firn.as_of": "yesterday"}); wrong["firn.as_of"].GetValue() != flight.SetSessionOptionsResultErrorInvalidValue {
		t.Fatalf("a value that is wrong is answered with %v", wrong)
	}
	if wrong := set(map[string]any{"nothing": "1"}); wrong["nothing"].GetValue() != flight.SetSessionOptionsResultErrorInvalidName {
		t.Fatalf("a name that is wrong is answered with %v", wrong)
	}
	if wrong := set(map[string]any{"firn.as_of": nil}); len(wrong) != 0 {
		t.Fatalf("an option cannot be taken back: %v", wrong)
	}
	expect(t, ctx, client, readsEWR, "41.5")
	closed, err := client.CloseSession(ctx, &flight.CloseSessionRequest{})
	check(t, err)
	if closed.Status != flight.CloseSessionResultClosed {
		t.Fatalf("the session is %v", closed.Status)
	}
}

func TestWhatIsWrongHasACode(t *testing.T) {
	client := connect(t, serve(t))
	weather(t, client)
	for statement, expected := range map[string]struct {
		code codes.Code
		part string
	}{
		`SELEC 1`:                     {codes.InvalidArgument, "cannot be read"},
		`SELECT * FROM wether`:        {codes.NotFound, "wether"},
		`SELECT nope FROM weather`:    {codes.InvalidArgument, "nope"},
		`UPDATE weather SET temp = 1`: {codes.Unimplemented, "INSERT"},
		`CREATE TABLE weather (a BIGINT PRIMARY KEY, b TIMESTAMP NOT NULL)`: {codes.AlreadyExists, "weather"},
		`SELECT * FROM weather FOR SYSTEM_TIME AS OF '2999-01-01'`:          {codes.InvalidArgument, "what will be known"},
	} {
		_, err := client.Execute(deadline(t), statement)
		refuse(t, err, expected.code, expected.part)
	}
	_, err := client.BeginTransaction(deadline(t))
	refuse(t, err, codes.Unimplemented, "atomic")
	_, err = client.ExecuteSubstrait(deadline(t), flightsql.SubstraitPlan{Plan: []byte("x"), Version: "1"})
	refuse(t, err, codes.Unimplemented, "")
}

// long is a query that takes longer than anybody waits.
var long = func() string {
	numbers := "(VALUES (0)" + strings.Repeat(", (1)", 299) + ")"
	from := strings.Join([]string{numbers + " a", numbers + " b", numbers + " c", numbers + " d", numbers + " e"}, ", ")
	return "SELECT sum(a.column1 + b.column1 * c.column1 - d.column1 * e.column1) FROM " + from
}()

func TestAQueryIsCancelled(t *testing.T) {
	client := connect(t, serve(t))
	info, err := client.Execute(deadline(t), long)
	check(t, err)
	ended := make(chan error, 1)
	go func() {
		reader, err := client.DoGet(deadline(t), info.Endpoint[0].Ticket)
		if err == nil {
			for reader.Next() {
			}
			err = reader.Err()
			reader.Release()
		}
		ended <- err
	}()
	// It cannot be cancelled before it runs.
	ctx, answered := deadline(t), flight.CancelStatusNotCancellable
	for answered == flight.CancelStatusNotCancellable {
		time.Sleep(20 * time.Millisecond)
		cancelled, err := client.CancelFlightInfo(ctx, &flight.CancelFlightInfoRequest{Info: info})
		check(t, err)
		answered = cancelled.Status
	}
	refuse(t, <-ended, codes.Canceled, "")
	expect(t, deadline(t), client, `SELECT 1`, "1")
}

func TestAQueryIsPolledFor(t *testing.T) {
	client := connect(t, serve(t))
	weather(t, client)
	ctx := deadline(t)
	poll, err := client.ExecutePoll(ctx, readsEWR, nil)
	check(t, err)
	for poll.GetFlightDescriptor() != nil {
		poll, err = client.ExecutePoll(ctx, readsEWR, poll.GetFlightDescriptor())
		check(t, err)
	}
	found, err := fetch(t, ctx, client, poll.GetInfo())
	check(t, err)
	if !slices.Equal(found, []string{"41.5"}) {
		t.Fatalf("the poll leads to %q", found)
	}
}
